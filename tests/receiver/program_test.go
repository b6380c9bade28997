package receiver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// node lets TLS finish and then destroys the socket.
func node() listener {
	return listener{
		name: "node", needs: []string{"node"}, protocols: []string{http1, http2},
		verdict: func(string, terms) verdict { return cut() },
		nobody:  certificateRequired,
		start: func(t *testing.T, on terms) running {
			t.Helper()
			ports := freeAddresses(t, 2)
			address, control := ports[0], ports[1]
			launch(t, on.dir, false, []string{address, control}, "node", source(t, "receiver.mjs"),
				portOf(t, address), portOf(t, control), on.tls("TLSv"), on.protocol)
			return running{address: address, app: counting(control)}
		},
	}
}

// java is the server of the JDK, with a trust manager that looks at the revocation list.
func java() listener {
	return listener{
		name: "java", needs: []string{"java", "javac"}, protocols: []string{http1},
		verdict: func(string, terms) verdict { return cut() },
		nobody:  func(terms) string { return "cut" },
		start: func(t *testing.T, on terms) running {
			t.Helper()
			ports := freeAddresses(t, 2)
			address, control := ports[0], ports[1]
			launch(t, on.dir, false, []string{address, control}, "java", "-XX:TieredStopAtLevel=1", source(t, "Receiver.java"),
				portOf(t, address), portOf(t, control), on.tls("TLSv"))
			return running{address: address, app: counting(control)}
		},
	}
}

func source(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	require.NoError(t, err)
	return path
}

// counting is an application in another process, which tells its counts on a port of its own.
type counting string

func (c counting) received(t *testing.T) (requests, body int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(c)+"/", http.NoBody)
	require.NoError(t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	n, err := fmt.Sscan(string(text), &requests, &body)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	return requests, body
}
