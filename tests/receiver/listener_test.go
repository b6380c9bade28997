package receiver

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds the start of a program; a Java machine on two busy cores takes seconds.
const patience = 30 * time.Second

// terms are what a listener shall offer.
type terms struct {
	*world

	version  uint16 // of TLS, the only one
	protocol string // of HTTP, the only one
}

// tls is the version's name as a program writes it: old is what stands before the number of 1.2, say "TLSv".
func (t terms) tls(before string) string {
	if t.version == tls.VersionTLS12 {
		return before + "1.2"
	}
	return before + "1.3"
}

// listener is a kind of receiver.
type listener struct {
	name string
	// needs are the programs without which it cannot run.
	needs     []string
	protocols []string
	start     func(*testing.T, terms) running
	// verdict is what comes of an identity that is not good.
	verdict func(identity string, on terms) verdict
	// nobody is what a client without a certificate hears.
	nobody func(on terms) string
}

const (
	http1 = "http/1.1"
	http2 = "h2"
)

// running is a listener that runs.
type running struct {
	address string
	app     application
}

// application is what stands behind a listener, where no byte of a refused message may arrive.
type application interface {
	// received is how many requests have begun and how many bytes of their bodies have come, since the start.
	received(t *testing.T) (requests, body int64)
}

// backend is an application in this process, reached by plain HTTP.
type backend struct {
	address  string
	requests atomic.Int64
	body     atomic.Int64
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.address = server.Listener.Addr().String()
	return b
}

// ServeHTTP counts.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	n, _ := io.Copy(io.Discard, r.Body)
	b.body.Add(n)
	w.WriteHeader(http.StatusNoContent)
}

func (b *backend) received(*testing.T) (requests, body int64) {
	return b.requests.Load(), b.body.Load()
}

// freeAddress is a port of the loopback that nobody listens on. It lies below those that a kernel gives to connections, one
// of which would otherwise take it while a slow program starts.
func freeAddress(t *testing.T) string {
	t.Helper()
	return freeAddresses(t, 1)[0]
}

func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	free := make([]string, 0, n)
	held := make([]net.Listener, 0, n)
	defer func() { // all of them at once, so that none is given twice
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20_000+rand.IntN(10_000)))
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue
		}
		held = append(held, l)
		if free = append(free, address); len(free) == n {
			return free
		}
	}
	require.Fail(t, "no port is free")
	return nil
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return port
}

// program is a process of a listener.
type program struct {
	said *journal
	in   io.WriteCloser
	out  io.Reader // its standard output, when asked for
}

// launch starts a program and waits until it takes connections on these addresses. It is killed at the end of the test,
// and shown when the test failed.
func launch(t *testing.T, dir string, talk bool, addresses []string, name string, arguments ...string) program {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	said := &journal{}
	command := exec.Command(path, arguments...)
	command.Dir, command.Stdout, command.Stderr = dir, said, said
	command.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	p := program{said: said}
	if talk {
		command.Stdout = nil
		p.out, err = command.StdoutPipe()
		require.NoError(t, err)
		p.in, err = command.StdinPipe()
		require.NoError(t, err)
	}
	require.NoError(t, command.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = command.Process.Wait()
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said)
		}
	})
	require.NoError(t, ready(t, ended, addresses), "%s %s\n%s", name, strings.Join(arguments, " "), said)
	return p
}

// ready waits for addresses to take connections.
func ready(t *testing.T, ended <-chan struct{}, addresses []string) error {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errNotReady)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, address := range addresses {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-ended:
				return errEnded
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
	}
	return nil
}

// journal keeps what a program says.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write keeps the first 16 KiB.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.text.Len() < 16<<10 {
		j.text.Write(p)
	}
	return len(p), nil
}

// String is what was said so far.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// written is a file of a listener with its configuration.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
