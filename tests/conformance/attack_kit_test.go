package conformance

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

const (
	friend  = "spiffe://sender.example/dispatcher"
	another = "spiffe://sender.example/second" // as good a client as the first
	enemy   = "spiffe://enemy.example/dispatcher"
)

// target is a receiver of real mutual TLS on loopback, for those who do not mean well. Its clock can be moved.
type target struct {
	t       *testing.T
	ca      *authority.Authority
	address string
	offset  atomic.Int64 // of the clock, in nanoseconds
	calls   atomic.Int64 // of the handler
	read    atomic.Int64 // bytes of bodies
	keys    []signature.Key
	status  atomic.Int64 // what the handler answers
}

func (g *target) now() time.Time { return time.Now().Add(time.Duration(g.offset.Load())) }

// aim starts a receiver that accepts these schemes. Its store and its limits are those of the zero configuration.
func aim(t *testing.T, change func(*receiver.Options), schemes ...string) *target {
	t.Helper()
	ca, err := authority.New("sender's CA")
	require.NoError(t, err)
	g := &target{t: t, ca: ca}
	g.status.Store(http.StatusOK)
	opts := receiver.Options{Clients: []string{friend, another}, Now: g.now}
	for _, scheme := range schemes {
		key := attackKey(t, scheme)
		verifier, err := key.Verifier()
		require.NoError(t, err)
		g.keys, opts.Keys = append(g.keys, key), append(opts.Keys, verifier)
	}
	if change != nil {
		change(&opts)
	}
	guard, err := receiver.New(opts)
	require.NoError(t, err)
	g.serve(guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.calls.Add(1)
		w.WriteHeader(int(g.status.Load()))
	})))
	return g
}

func attackKey(t *testing.T, scheme string) signature.Key {
	t.Helper()
	key, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
	require.NoError(t, err)
	key.State = signature.Active
	return key
}

// serve asks for a certificate and does not insist, so that the middleware has to.
func (g *target) serve(handler http.Handler) {
	chain, key, err := g.ca.Server("127.0.0.1")
	require.NoError(g.t, err)
	pair, err := tls.X509KeyPair(chain, key)
	require.NoError(g.t, err)
	pool := x509.NewCertPool()
	pool.AddCert(g.ca.Certificate())
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = counted{r.Body, &g.read}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13},
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(g.t, err)
	g.address = l.Addr().String()
	served := make(chan struct{})
	go func() { defer close(served); _ = server.ServeTLS(l, "", "") }()
	g.t.Cleanup(func() { _ = server.Close(); <-served })
}

type counted struct {
	io.ReadCloser

	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// dial opens a connection as this client, or as nobody.
func (g *target) dial(client string) net.Conn {
	g.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(g.ca.Certificate())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if client != "" {
		chain, key, err := g.ca.Client(client)
		require.NoError(g.t, err)
		pair, err := tls.X509KeyPair(chain, key)
		require.NoError(g.t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(g.t.Context(), "tcp", g.address)
	require.NoError(g.t, err)
	require.NoError(g.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

// letter is a request as it stands on the wire, so that an attacker can write what no client library would.
type letter struct {
	method, target string
	host           string   // "" for the right one
	header         []string // whole lines
	body           string   // with its framing, if it is chunked
	unframed       bool     // the header tells the length itself
}

// sign makes an honest request.
func (g *target) sign(id string, at time.Time, body string) letter {
	g.t.Helper()
	ring, err := signature.NewRing(g.keys...)
	require.NoError(g.t, err)
	var schemes []string
	for _, key := range g.keys {
		if !slices.Contains(schemes, key.Scheme) {
			schemes = append(schemes, key.Scheme)
		}
	}
	l := letter{method: http.MethodPost, target: "/hooks/in?tenant=a", header: []string{"content-type: application/json"}, body: body}
	r := signature.Request{
		ID: id, Time: at, Method: l.method, URL: "https://" + g.address + l.target, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body),
	}
	query, err := signature.Query(r, schemes)
	require.NoError(g.t, err)
	r.URL = signature.Extend(r.URL, query)
	l.target = strings.TrimPrefix(r.URL, "https://"+g.address)
	fields, _, err := signature.Signer{}.Sign(r, schemes, ring)
	require.NoError(g.t, err)
	for _, f := range fields {
		l.header = append(l.header, f.Name+": "+f.Value)
	}
	return l
}

// with replaces each line of that field by these, none to take it away.
func (l letter) with(name string, lines ...string) letter {
	kept := make([]string, 0, len(l.header))
	for _, line := range l.header {
		if field, _, _ := strings.Cut(line, ":"); !strings.EqualFold(field, name) {
			kept = append(kept, line)
		}
	}
	l.header = slices.Concat(kept, lines)
	return l
}

// value is that of the first line of a field.
func (l letter) value(name string) string {
	for _, line := range l.header {
		if field, value, _ := strings.Cut(line, ": "); strings.EqualFold(field, name) {
			return value
		}
	}
	return ""
}

// post sends the letter on a connection of its own and returns the status; 0 if the server hung up without one.
func (g *target) post(client string, l letter) int {
	g.t.Helper()
	conn := g.dial(client)
	defer conn.Close()
	var b strings.Builder
	b.WriteString(l.method + " " + l.target + " HTTP/1.1\r\nhost: " + cmp.Or(l.host, g.address) + "\r\nconnection: close\r\n")
	if !l.unframed {
		b.WriteString("content-length: " + strconv.Itoa(len(l.body)) + "\r\n")
	}
	for _, line := range l.header {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n" + l.body)
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(conn, b.String()) // the server may not want all of it
	}()
	defer func() { _ = conn.Close(); <-written }()
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: l.method})
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if signed := l.value("webhook-signature"); err == nil && resp.StatusCode >= 400 && signed != "" {
		assert.NotContains(g.t, string(text), signed, "a refusal repeats nothing")
	}
	return resp.StatusCode
}

// unharmed sends an honest delivery after an attack.
func (g *target) unharmed() {
	g.t.Helper()
	before := g.calls.Load()
	require.Equal(g.t, http.StatusOK, g.post(friend, g.sign("msg_after", g.now(), `{"n":1}`)), "honest deliveries still pass")
	require.Equal(g.t, before+1, g.calls.Load())
}
