package receiver

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// TestPrintedCaller: nginx and haproxy see no SAN, so a certificate of the right authority with the right subject gets
// through them, and the printed caller.mjs has the last word in the application. A header that claims to be somebody
// else changes nothing.
func TestPrintedCaller(t *testing.T) {
	enabled(t)
	w := newWorld(t)
	for _, p := range printedStacks() {
		if p.caller == "" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			installed(t, listener{name: p.name, needs: append([]string{"node"}, p.needs...)})
			ports := freeAddresses(t, 2)
			upstream, control := ports[0], ports[1]
			at, _, dir := p.start(t, w, upstream)
			launch(t, dir, false, []string{upstream, control}, "node", source(t, "application.mjs"),
				portOf(t, upstream), portOf(t, control), filepath.Join(dir, p.caller))
			app := counting(control)
			p.accepts(t, w, at, app)
			p.refuses(t, w, at, app, sameWords, p.byApplication)
			p.refuses(t, w, at, app, sameWords, p.byApplication, func(r *mtls.Request) {
				for name, value := range w.forged() {
					r.Header.Set(name, value)
				}
			})
			// The application alone would believe it, so it is the proxy that took it away.
			assert.Equal(t, http.StatusNoContent, w.forge(t, upstream))
		})
	}
}

// forged is what somebody sends who knows our certificate, which is no secret.
func (w *world) forged() map[string]string {
	return map[string]string{
		"Client-Cert":       ":" + base64.StdEncoding.EncodeToString(w.identities[good].Leaf().Raw) + ":",
		"X-SSL-Client-Cert": url.PathEscape(string(w.pairs[good].certificate)),
	}
}

// forge goes past the proxy.
func (w *world) forge(t *testing.T, address string) (status int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/hooks/in", http.NoBody)
	require.NoError(t, err)
	for name, value := range w.forged() {
		request.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	return response.StatusCode
}
