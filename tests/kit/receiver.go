package kit

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

// Hit is one request that a receiver has seen.
type Hit struct {
	At     time.Time
	Header http.Header
	Body   []byte
	Client string // the caller's first URI or DNS name
	Proto  string
	Target string // path and query, as they came
}

// event names the event by its source and id.
func (h Hit) event() string {
	var e struct {
		Source string `json:"source"`
		ID     string `json:"id"`
	}
	if json.Unmarshal(h.Body, &e) != nil {
		return ""
	}
	return e.Source + " " + e.ID
}

// Receiver is a webhook receiver behind mutual TLS.
type Receiver struct {
	Host    string
	Address string
	server  *http.Server
	world   *World

	mu     sync.Mutex
	hits   []Hit
	probes int
}

// Whole is a handler that sees every request. Others see messages only, and exchanges without one are answered 405.
type Whole struct{ http.Handler }

// Answer is a handler that reads the whole message and answers with the given statuses in turn, the last one for ever.
func Answer(statuses ...int) http.HandlerFunc {
	var mu sync.Mutex
	next := 0
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		status := statuses[min(next, len(statuses)-1)]
		next++
		mu.Unlock()
		w.WriteHeader(status)
	}
}

// Receiver opens a receiver at https://host with a good certificate, which requires ours. Each option may change its TLS
// settings.
func (w *World) Receiver(host string, handler http.Handler, options ...func(*tls.Config)) *Receiver {
	w.T.Helper()
	return w.receiver(host, handler, func(inner http.Handler) http.Handler { return inner }, options...)
}

// receiver is Receiver with something around all that is behind the handshake.
func (w *World) receiver(host string, handler http.Handler, around func(http.Handler) http.Handler, options ...func(*tls.Config)) *Receiver {
	w.T.Helper()
	r := &Receiver{Host: host, Address: net.JoinHostPort(host, "443"), world: w}
	config := w.ServerTLS(host)
	for _, option := range options {
		option(config)
	}
	r.server = &http.Server{
		TLSConfig: config, ErrorLog: w.quietLog(), ReadHeaderTimeout: time.Minute,
		Handler: around(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) { r.serve(rw, req, handler) })),
	}
	r.listen()
	w.T.Cleanup(r.Close)
	return r
}

// ServerTLS is the configuration of a receiver as it should be: its own certificate, and ours required.
func (w *World) ServerTLS(names ...string) *tls.Config {
	w.T.Helper()
	return w.ServerTLSUntil(time.Time{}, names...)
}

// ServerTLSUntil is ServerTLS with a certificate that ends at a time; zero stands for the authority's own choice.
func (w *World) ServerTLSUntil(notAfter time.Time, names ...string) *tls.Config {
	w.T.Helper()
	certificatePEM, keyPEM, err := w.ServerCA.Issue(authority.Leaf{DNSNames: names, Server: true, NotAfter: notAfter})
	require.NoError(w.T, err)
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(w.T, err)
	clients := x509.NewCertPool()
	clients.AddCert(w.ClientCA.Certificate())
	return &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, next http.Handler) {
	hit := Hit{At: time.Now(), Header: req.Header.Clone(), Client: clientName(req.TLS), Proto: req.Proto, Target: req.RequestURI}
	if req.Method == http.MethodOptions {
		r.mu.Lock()
		r.probes++
		r.mu.Unlock()
		if whole, ok := next.(Whole); ok {
			whole.ServeHTTP(w, req)
			return
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err == nil {
		hit.Body = body
		r.mu.Lock()
		r.hits = append(r.hits, hit)
		r.mu.Unlock()
	}
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	next.ServeHTTP(w, req)
}

// Hits returns the messages that have arrived, in order.
func (r *Receiver) Hits() []Hit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Hit(nil), r.hits...)
}

// Probes counts the exchanges without a message that have come through.
func (r *Receiver) Probes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.probes
}

// Close ends the receiver: connections drop, new ones are refused.
func (r *Receiver) Close() {
	r.world.Network.Close(r.Address)
	_ = r.server.Close()
}

// Drop ends all connections; new ones are taken.
func (r *Receiver) Drop() {
	r.Close()
	r.Reopen()
}

// Reopen starts a closed receiver again.
func (r *Receiver) Reopen() {
	r.server = &http.Server{
		TLSConfig: r.server.TLSConfig, ErrorLog: r.server.ErrorLog, ReadHeaderTimeout: r.server.ReadHeaderTimeout, Handler: r.server.Handler,
	}
	r.listen()
}

func (r *Receiver) listen() {
	go r.server.ServeTLS(r.world.Network.Listen(r.Address), "", "") //nolint:errcheck // it ends with the test
}

// Document is an endpoint document for this receiver; each change may alter it.
func (r *Receiver) Document(tenant, name string, changes ...func(map[string]any)) []byte {
	return r.world.Document(r.Host, tenant, name, changes...)
}

// Document is an endpoint document for https://host that trusts the receivers' authority.
func (w *World) Document(host, tenant, name string, changes ...func(map[string]any)) []byte {
	w.T.Helper()
	document := map[string]any{
		"tenant": tenant, "name": name, "url": "https://" + host + "/hooks?source=handfast",
		"tls": map[string]any{"trust": map[string]any{"roots": string(w.ServerCA.CertificatePEM())}},
	}
	for _, change := range changes {
		change(document)
	}
	data, err := json.Marshal(document)
	require.NoError(w.T, err)
	return data
}
