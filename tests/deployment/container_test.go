package deployment

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// container is one container of handfast, wherever its file is.
type container struct {
	name        string // compose/signer, kubernetes/dispatcher, …
	arguments   []string
	environment map[string]string
	mounts      map[string]mount // by their paths in the container
	// grace is how long it is given to stop; 0 when nothing waits for it.
	grace time.Duration
	// port is the one that its file shows to others; "" when it shows none.
	port string
}

// mount is a secret as a file.
type mount struct {
	content []byte
	mode    os.FileMode
}

// place is where containers run: what their files call nats and jaeger.
type place struct {
	server    string // URL of NATS
	collector string // URL of a receiver of traces
}

// running is a container that runs as a process. It never outlives its test.
type running struct {
	t       *testing.T
	name    string
	http    string // its private address; "" without one
	input   io.Reader
	out     paper
	command *exec.Cmd
	ended   chan struct{}
}

// paper is what a process has said so far.
type paper struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *paper) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// anywhere is an address that a container listens on for everybody who reaches it.
var anywhere = regexp.MustCompile(`^(|--http=)(?:0\.0\.0\.0)?:(\d+)$`)

// start runs the container with more arguments, as its file has it. Only what cannot be the same outside a container is
// changed: paths of secrets, names of hosts, and the port, which is a free one on loopback.
func (c container) start(t *testing.T, at place, input string, more ...string) *running {
	t.Helper()
	r := &running{t: t, name: c.name, input: strings.NewReader(input), ended: make(chan struct{})}
	dir := t.TempDir()
	change := func(text string) string {
		text = strings.ReplaceAll(text, "nats://nats:4222", at.server)
		text = strings.ReplaceAll(text, "http://jaeger:4318", at.collector)
		if found := anywhere.FindStringSubmatch(text); found != nil {
			assert.Equal(t, c.port, found[2], "%s listens on a port that its file does not show", c.name)
			r.http = free(t)
			text = found[1] + r.http
		}
		for _, path := range slices.Backward(slices.Sorted(maps.Keys(c.mounts))) {
			text = strings.ReplaceAll(text, path, dir+path)
		}
		return text
	}
	for path, m := range c.mounts {
		require.NoError(t, os.MkdirAll(filepath.Dir(dir+path), 0o700))
		require.NoError(t, os.WriteFile(dir+path, m.content, 0o600))
		require.NoError(t, os.Chmod(dir+path, m.mode))
	}
	arguments := make([]string, 0, len(c.arguments)+len(more))
	for _, argument := range slices.Concat(c.arguments, more) {
		arguments = append(arguments, change(argument))
	}
	r.command = exec.Command(binary(t), arguments...) // not bound to the test's context: the cleanup kills it
	r.command.Dir, r.command.Env = dir, []string{}    // an image has no variables of its own
	for name, value := range c.environment {
		r.command.Env = append(r.command.Env, name+"="+change(value))
	}
	if c.port != "" {
		require.NotEmpty(t, r.http, "%s shows port %s and does not listen on it", c.name, c.port)
	}
	r.command.Stdin, r.command.Stdout, r.command.Stderr = r.input, &r.out, &r.out
	require.NoError(t, r.command.Start(), c.name)
	go func() {
		_ = r.command.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		_ = r.command.Process.Kill() // it may have ended already
		<-r.ended
		if t.Failed() {
			t.Logf("what %s said:\n%s", c.name, r.out.String())
		}
	})
	return r
}

// run is a container that ends by itself; the result is what it has printed.
func (c container) run(t *testing.T, at place, input string, more ...string) string {
	t.Helper()
	r := c.start(t, at, input, more...)
	r.end(time.Minute)
	return r.out.String()
}

// end waits for the process, which has to be content.
func (r *running) end(most time.Duration) {
	r.t.Helper()
	select {
	case <-r.ended:
		require.Zero(r.t, r.command.ProcessState.ExitCode(), "%s: %s", r.name, r.out.String())
	case <-time.After(most):
		require.Fail(r.t, r.name+" has not ended", r.out.String())
	}
}

// get asks its private address, until the answer is 200.
func (r *running) get(path string) string {
	r.t.Helper()
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	var status int
	var text []byte
	require.Eventually(r.t, func() bool {
		select {
		case <-r.ended:
			return true
		default:
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.http+path, http.NoBody)
		if err != nil {
			return false
		}
		response, err := client.Do(request)
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err = io.ReadAll(response.Body)
		status = response.StatusCode
		return err == nil && status == http.StatusOK
	}, 30*time.Second, 50*time.Millisecond, "%s%s: %s", r.name, path, text)
	require.Equal(r.t, http.StatusOK, status, "%s has ended, or does not answer: %s%s", r.name, text, r.out.String())
	return string(text)
}

// mostly is the bound that a service tells when it is asked to stop.
var mostly = regexp.MustCompile(`at_most"?[=:]"?([0-9.a-z]+)`)

// stop asks the process to end, as an orchestrator does, and returns how long it says that this may take.
func (r *running) stop() time.Duration {
	r.t.Helper()
	require.NoError(r.t, r.command.Process.Signal(syscall.SIGTERM))
	r.end(time.Minute)
	found := mostly.FindStringSubmatch(r.out.String())
	require.NotNil(r.t, found, "%s: %s", r.name, r.out.String())
	if !strings.ContainsAny(found[1], "smh") {
		found[1] += "ns" // as JSON has it
	}
	bound, err := time.ParseDuration(found[1])
	require.NoError(r.t, err)
	return bound
}

// free is a loopback address on which nothing listens at the moment.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}
