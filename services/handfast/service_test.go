package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// paper is what a command that runs beside the test has written so far.
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

// running is a command that runs beside the test.
type running struct {
	t        *testing.T
	out, err paper
	cancel   context.CancelFunc
	status   chan int
}

func begin(t *testing.T, arguments ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, cancel: cancel, status: make(chan int, 1)}
	go func() { r.status <- run(ctx, arguments, streams{out: &r.out, err: &r.err}) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("%s said:\n%s%s", arguments[0], r.out.String(), r.err.String())
		}
	})
	return r
}

const patience = 30 * time.Second

func until(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, 10*time.Millisecond, what)
}

// end stops the command as a signal would, and gives its exit status.
func (r *running) end() int {
	r.t.Helper()
	r.cancel()
	select {
	case status := <-r.status:
		r.status <- status
		return status
	case <-time.After(patience):
		require.Fail(r.t, "the command did not end")
		return -1
	}
}

// finds waits for a piece of what the command prints.
func (r *running) finds(pattern string) string {
	r.t.Helper()
	var found string
	until(r.t, func() bool {
		if match := regexp.MustCompile(pattern).FindStringSubmatch(r.out.String()); match != nil {
			found = match[len(match)-1]
		}
		return found != ""
	}, "prints "+pattern)
	return found
}

func invoke(t *testing.T, arguments ...string) (status int, out, err string) {
	t.Helper()
	var o, e strings.Builder
	status = run(t.Context(), arguments, streams{out: &o, err: &e})
	return status, o.String(), e.String()
}

func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// get reads a page; status 0 tells that nobody answered.
func get(url string) (status int, text string) {
	answer, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

func says(t *testing.T, url string, status int, text string) {
	t.Helper()
	until(t, func() bool {
		gotStatus, gotText := get(url)
		return gotStatus == status && strings.Contains(gotText, text)
	}, url+" answers "+text)
}

func TestDevGoesOnWhereItStopped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	dev := begin(t, "dev", "--dir", dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "warn")
	url := dev.finds(`NATS +(nats://\S+)`)
	watch := "http://" + dev.finds(`http://([^/]+)/readyz`)
	assert.Contains(t, dev.out.String(), " --server "+url+" --endpoint acme/orders --write orders.yaml ")
	assert.Contains(t, dev.out.String(), "handfast endpoint apply --server "+url+" -f orders.yaml\n")
	says(t, watch+"/readyz", http.StatusOK, "ready")
	_, text := get(watch + "/metrics/dispatcher")
	assert.Contains(t, text, "handfast_lanes")
	before, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	require.NoError(t, err)

	status, _, said := invoke(t, "dev", "--dir", dir, "--listen", "127.0.0.1:0", "--http=")
	assert.Equal(t, 1, status)
	assert.Regexp(t, `^handfast: directory \S+ is in use by process \d+; stop that one, or choose another directory with --dir\n$`, said)
	status, _, said = invoke(t, "dev", "--dir", t.TempDir(), "--listen", strings.TrimPrefix(url, "nats://"), "--http=")
	assert.Equal(t, 1, status)
	assert.Contains(t, said, "address already in use; another NATS server, or another `handfast dev`, listens there: choose another port with --listen")

	status, out, _ := invoke(t, "topology", "apply", "--server", url)
	assert.Equal(t, 0, status)
	assert.Equal(t, "0 created, 0 changed, 46 unchanged\n", out)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "events.acme.x", []byte("not an event"))
	require.NoError(t, err)
	nc.Close()
	assert.Equal(t, 0, dev.end())
	assert.Contains(t, dev.out.String(), "finishing what has begun")

	again := begin(t, "dev", "--dir", dir, "--listen", "127.0.0.1:0", "--http=", "--log-level", "error")
	nc, err = nats.Connect(again.finds(`NATS +(nats://\S+)`))
	require.NoError(t, err)
	defer nc.Close()
	js, err = jetstream.New(nc)
	require.NoError(t, err)
	events, err := js.Stream(t.Context(), "EVENTS")
	require.NoError(t, err)
	assert.Equal(t, uint64(1), events.CachedInfo().State.Msgs)
	after, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	require.NoError(t, err)
	assert.Equal(t, before, after, "receivers go on trusting the same authority")
	assert.Equal(t, 0, again.end())
}

func TestDevNeedsADirectoryThatItCanWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	status, out, said := invoke(t, "dev", "--dir", file, "--listen", "127.0.0.1:0", "--http=")
	assert.Equal(t, 1, status)
	assert.Empty(t, out)
	assert.Equal(t, "handfast: directory "+file+" cannot be written to; choose another with --dir: mkdir "+file+": not a directory\n", said)
}

// TestServicesWaitForNATSAndForTheTopology takes both services through everything that may be missing.
func TestServicesWaitForNATSAndForTheTopology(t *testing.T) {
	dir, address := t.TempDir(), free(t)
	ca, err := authority.New("test")
	require.NoError(t, err)
	certificate, key, err := ca.Client("spiffe://test/dispatcher")
	require.NoError(t, err)
	identity := filepath.Join(dir, "identity.pem")
	require.NoError(t, os.WriteFile(identity, append(certificate, key...), 0o600))
	t.Setenv("HANDFAST_MASTER_KEY", strings.Repeat("ab", 32))
	server := "nats://" + address

	services := map[string]*running{}
	pages := map[string]string{}
	for name, more := range map[string][]string{"signer": nil, "dispatcher": {"--identity", "default=" + identity, "--id", "d1"}} {
		http := free(t)
		pages[name] = "http://" + http
		services[name] = begin(t, append([]string{name, "--server", server, "--http", http}, more...)...)
	}
	each := func(do func(name, page string)) {
		t.Helper()
		for name, page := range pages {
			do(name, page)
		}
	}
	each(func(_, page string) {
		says(t, page+"/readyz", http.StatusServiceUnavailable, "not ready: no connection to NATS at "+server)
		says(t, page+"/healthz", http.StatusOK, "alive")
	})

	broker, err := embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats"), Listen: address})
	require.NoError(t, err)
	each(func(name, page string) {
		says(t, page+"/readyz", http.StatusServiceUnavailable, "run `handfast topology apply` once")
		until(t, func() bool { return strings.Contains(services[name].err.String(), "cannot start yet; trying on") }, "the log says so, too")
	})

	status, out, said := invoke(t, "topology", "apply", "--server", server, "--partitions", "2", "--dry-run")
	require.Equal(t, 0, status, said)
	assert.Contains(t, out, "consumer  DELIVERIES/p001          would be created\n")
	status, out, said = invoke(t, "topology", "apply", "--server", server, "--partitions", "2")
	require.Equal(t, 0, status, said)
	assert.Contains(t, out, "\n16 created, 0 changed, 0 unchanged\n")
	status, out, _ = invoke(t, "topology", "apply", "--server", server, "--max-bytes", "2GiB", "--json")
	require.Equal(t, 0, status)
	assert.Contains(t, out, `{"kind":"stream","name":"RECEIPTS","result":"changed","fields":[{"name":"max_bytes","old":"1073741824","new":"2147483648"}]}`)
	status, out, said = invoke(t, "topology", "apply", "--server", server, "--partitions", "3")
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "metadata.handfast.partitions: 2 → 3\n")
	assert.Equal(t, "handfast: nothing was changed, because of what would be lost:\n"+
		"topology: stream DELIVERIES is left as it is: it was made with 2 partitions and would get 3; the number is chosen once, because another one moves every endpoint\n", said)
	each(func(name, page string) {
		says(t, page+"/readyz", http.StatusOK, "ready")
		says(t, page+"/metrics", http.StatusOK, `service_name="handfast-`+name+`"`)
	})

	nc, err := nats.Connect(server)
	require.NoError(t, err)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), "RETRIES"))
	says(t, pages["signer"]+"/readyz", http.StatusServiceUnavailable, "consumer RETRIES/due; run `handfast topology apply`")
	says(t, pages["dispatcher"]+"/readyz", http.StatusServiceUnavailable, "stream RETRIES; run `handfast topology apply`")
	nc.Close()
	status, _, said = invoke(t, "topology", "apply", "--server", server)
	require.Equal(t, 0, status, said)
	each(func(_, page string) { says(t, page+"/readyz", http.StatusOK, "ready") })

	broker.Stop()
	each(func(_, page string) {
		says(t, page+"/readyz", http.StatusServiceUnavailable, "not ready: no connection to NATS at "+server)
	})
	broker, err = embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats"), Listen: address})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	each(func(name, page string) {
		says(t, page+"/readyz", http.StatusOK, "ready")
		assert.Equal(t, 0, services[name].end(), name)
	})
}
