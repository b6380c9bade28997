package system

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/stream"
)

// guarded is a NATS server from the configuration that we ship, with its users.
type guarded struct {
	t   *testing.T
	dir string
	url string
}

func users() []string { return []string{"producer", "signer", "dispatcher", "operator"} }

// guard starts a real server from deploy/nats/handfast.conf. Only its port, its directory and the flush to the disk are
// the test's own, and what it changes before the start.
func guard(t *testing.T, changes ...func(*server.Options)) *guarded {
	t.Helper()
	g := &guarded{t: t, dir: t.TempDir()}
	for _, user := range users() {
		password := rand.Text()
		t.Setenv("HANDFAST_"+strings.ToUpper(user)+"_PASSWORD", password)
		require.NoError(t, os.WriteFile(g.password(user), []byte(password+"\n"), 0o600))
	}
	options, err := server.ProcessConfigFile("../../deploy/nats/handfast.conf")
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", options.Host, "the file as it is must not open a port to the network")
	options.Port, options.StoreDir, options.SyncAlways = server.RANDOM_PORT, filepath.Join(g.dir, "nats"), false
	options.NoLog, options.NoSigs = true, true
	for _, change := range changes {
		change(options)
	}
	s, err := server.NewServer(options)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(20*time.Second))
	g.url = s.ClientURL()
	return g
}

func (g *guarded) password(user string) string { return filepath.Join(g.dir, user+".password") }

// as connects a user, whose refusals go to refused.
func (g *guarded) as(user string, refused func(error)) *nats.Conn {
	g.t.Helper()
	password, err := os.ReadFile(g.password(user))
	require.NoError(g.t, err)
	nc, err := nats.Connect(g.url, nats.UserInfo(user, strings.TrimSpace(string(password))), nats.CustomInboxPrefix("_INBOX."+user),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused(err) }))
	require.NoError(g.t, err, user)
	g.t.Cleanup(nc.Close)
	return nc
}

func (g *guarded) flags(user string, arguments ...string) []string {
	return append(arguments, "--server", g.url, "--nats-user", user, "--nats-password-file", g.password(user))
}

func (g *guarded) launch(user string, arguments ...string) *process {
	return launch(g.t, g.dir, arguments[0], binary(g.t), nil, g.flags(user, arguments...)...)
}

// answers is a receiver that answers each path from a list, the last one for ever, and remembers who came.
type answers struct {
	mu     sync.Mutex
	status map[string][]int
	came   map[string]int
	client string
	host   string
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions { // the request without a message that comes first on HTTP/2
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.came[r.URL.Path]++
	a.client = r.TLS.PeerCertificates[0].URIs[0].String()
	left := a.status[r.URL.Path]
	if len(left) > 1 {
		a.status[r.URL.Path] = left[1:]
	}
	w.WriteHeader(left[0])
}

func (a *answers) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.came[path]
}

func listen(t *testing.T, ca *authority.Authority, status map[string][]int) *answers {
	t.Helper()
	certificatePEM, keyPEM, err := ca.Server("127.0.0.1")
	require.NoError(t, err)
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(ca.Certificate())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := &answers{status: status, came: map[string]int{}, host: listener.Addr().String()}
	s := &http.Server{
		Handler: a, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
	}
	go s.ServeTLS(listener, "", "")
	t.Cleanup(func() { s.Close() })
	return a
}

// person is the operator at work.
type person struct {
	t         *testing.T
	js        jetstream.JetStream
	topology  stream.Topology
	catalogue *stream.Catalogue
}

func (g *guarded) operator() *person {
	g.t.Helper()
	nc := g.as("operator", func(err error) { g.t.Errorf("the operator may not: %v", err) })
	js, err := jetstream.New(nc)
	require.NoError(g.t, err)
	p := &person{t: g.t, js: js}
	p.topology, err = stream.LoadTopology(g.t.Context(), js)
	require.NoError(g.t, err)
	p.catalogue, err = p.topology.OpenCatalogue(g.t.Context(), js, slog.New(slog.DiscardHandler))
	require.NoError(g.t, err)
	return p
}

func (p *person) apply(ca *authority.Authority, host, name string, paused bool) {
	p.t.Helper()
	roots := strings.ReplaceAll(strings.TrimSpace(string(ca.CertificatePEM())), "\n", "\n      ")
	e, err := endpoint.Parse(fmt.Appendf(nil, "tenant: acme\nname: %s\nurl: https://%s/%s\npaused: %t\nfilter:\n  types: [com.acme.%s]\ntls:\n  trust:\n    roots: |\n      %s\n",
		name, host, name, paused, name, roots))
	require.NoError(p.t, err)
	_, err = p.catalogue.Apply(p.t.Context(), e)
	require.NoError(p.t, err)
}

func (p *person) messages(name string) int {
	s, err := p.js.Stream(p.t.Context(), name)
	if err != nil {
		return -1
	}
	return int(s.CachedInfo().State.Msgs)
}

func (p *person) disabled(name string) bool {
	kv, err := p.js.KeyValue(p.t.Context(), stream.EndpointBucket)
	if err != nil {
		return false
	}
	_, err = kv.Get(p.t.Context(), stream.StatusKey(endpoint.Key{Tenant: "acme", Name: name}, p.topology.Partitions))
	return err == nil
}

// producer publishes an event for each endpoint, as any NATS client would.
func (g *guarded) producer() func(names ...string) {
	g.t.Helper()
	js, err := jetstream.New(g.as("producer", func(err error) { g.t.Errorf("the producer may not: %v", err) }))
	require.NoError(g.t, err)
	return func(names ...string) {
		g.t.Helper()
		for _, name := range names {
			_, err := js.PublishMsg(g.t.Context(), &nats.Msg{
				Subject: "events.acme.com.acme." + name, Data: []byte(`{"total":42}`),
				Header: nats.Header{
					"ce-specversion": {"1.0"}, "ce-id": {name}, "ce-source": {"/shop"}, "ce-type": {"com.acme." + name}, "ce-datacontenttype": {"application/json"},
				},
			})
			require.NoError(g.t, err)
		}
	}
}
