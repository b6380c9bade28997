package conformance

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/tests/kit"
)

// lane is a whole Handfast in real time, whose broker other processes can reach.
type lane struct {
	*kit.World

	receiver *kit.Receiver
	keys     []signature.Key
}

// open starts it. The receiver verifies what arrives with the official library.
func open(t *testing.T) *lane {
	t.Helper()
	w := kit.New(t)
	w.StopBroker()
	var err error
	w.Broker, err = embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	nc, err := nats.Connect(w.Broker.URL())
	require.NoError(t, err)
	t.Cleanup(func() { // before the directory goes
		w.Stop()
		nc.Close()
		w.StopBroker()
	})
	w.JS, err = jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, w.Topology.Apply(t.Context(), w.JS))
	w.Signer.FetchWait, w.Dispatcher.FetchWait = 0, 0 // the defaults: this is real time

	l := &lane{World: w, keys: w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"})}
	j := judgesOf(t, l.keys)
	l.receiver = w.Receiver("hooks.example.com", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.NoError(t, j.both(r.Header, readAll(t, r.Body)))
	}))
	w.Apply(l.receiver.Document("acme", "orders"))
	w.Start()
	return l
}

// arrive waits for n deliveries and returns them by the id of their event.
func (l *lane) arrive(t *testing.T, n int) map[string]kit.Hit {
	t.Helper()
	require.Eventually(t, func() bool { return len(l.receiver.Hits()) >= n }, 20*time.Second, 10*time.Millisecond,
		"%d of %d have arrived; dead letters: %s", len(l.receiver.Hits()), n, l.DeadLetters())
	return byID(t, l.receiver.Hits())
}

// produce runs a producer that is not ours, against the lane's broker.
func (l *lane) produce(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir = dir
	// Nobody's own contexts of the nats command line may lead it elsewhere.
	command.Env = append(os.Environ(), "NATS_URL="+l.Broker.URL(), "XDG_CONFIG_HOME="+t.TempDir(), "NATS_CONTEXT=")
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// missing skips a test whose tool is not there. In a CI that says that it has everything, it is a failure.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" && os.Getenv("HANDFAST_REQUIRE_TOOLS") != "" {
		require.Fail(t, what)
	}
	t.Skip(what + "; .ci/run installs it")
}

// script copies a file of JavaScript to where it finds its modules.
func script(t *testing.T, path string) (dir, name string) {
	t.Helper()
	modules := os.Getenv("HANDFAST_NODE_MODULES")
	if modules == "" {
		missing(t, "HANDFAST_NODE_MODULES does not tell a folder with @nats-io/transport-node, @nats-io/jetstream and standardwebhooks")
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node is not in PATH")
	}
	modules, err := filepath.Abs(modules)
	require.NoError(t, err)
	require.DirExists(t, modules, "HANDFAST_NODE_MODULES")
	dir, name = t.TempDir(), filepath.Base(path)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	return dir, name
}

// judgeOrders is what each producer in producer/ says, in the mode of the id.
func judgeOrders(t *testing.T, hits map[string]kit.Hit, ids ...string) {
	t.Helper()
	require.Len(t, hits, len(ids))
	for _, id := range ids {
		require.Contains(t, hits, id)
		e := read(t, hits[id])
		assert.Equal(t, eventSource, e.Source())
		assert.Equal(t, kindOfEvent, e.Type())
		assert.Equal(t, "Zürich", e.Subject())
		assert.Equal(t, "application/json", e.DataContentType())
		assert.Empty(t, e.Extensions())
		assert.JSONEq(t, `{"order":`+id+`,"total":19.90}`, string(e.Data()))
	}
}

// twice runs a producer two times: Nats-Msg-Id makes one event of both.
func (l *lane) twice(t *testing.T, produce func(), ids ...string) map[string]kit.Hit {
	t.Helper()
	produce()
	hits := l.arrive(t, len(ids))
	judgeOrders(t, hits, ids...)
	produce()
	assert.Equal(t, len(ids), l.Count(stream.Events), "a repeated publish is stored once")
	return hits
}

func TestTheNATSCommandLineProduces(t *testing.T) {
	if _, err := exec.LookPath("nats"); err != nil {
		missing(t, "the nats command line is not in PATH")
	}
	l := open(t)
	hits := l.twice(t, func() { l.produce(t, "producer", "sh", "-eu", "nats.sh") }, "1001", "1002")
	for id, hit := range hits {
		assert.Contains(t, string(hit.Body), `"data":{"order":`+id+`,"total":19.90}`, "to the last digit")
	}
	// A payload that looks like one of the command's own templates.
	l.produce(t, "", "nats", "pub", "events.acme."+kindOfEvent, "--jetstream", "--no-templates",
		"-H", "ce-specversion:1.0", "-H", "ce-type:"+kindOfEvent, "-H", "ce-source:"+eventSource, "-H", "ce-id:1003",
		"-H", "ce-time:2026-01-31T09:00:00+01:00", `{"note":"{{ID}}"}`)
	e := read(t, l.arrive(t, 3)["1003"])
	assert.JSONEq(t, `{"note":"{{ID}}"}`, string(e.Data()))
	assert.Equal(t, "2026-01-31T08:00:00Z", e.Time().UTC().Format(time.RFC3339), "colons in a header's value")
}

func TestNodeProduces(t *testing.T) {
	dir, name := script(t, "producer/node.mjs")
	l := open(t)
	l.twice(t, func() { l.produce(t, dir, "node", name) }, "1001", "1002")
}

func TestGoProduces(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		missing(t, "go is not in PATH")
	}
	program := filepath.Join(t.TempDir(), "producer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "producer/main.go")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	l := open(t)
	l.twice(t, func() { l.produce(t, "", program) }, "1001")
}
