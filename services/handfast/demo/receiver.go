package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/local"
)

// webhook is a receiver on loopback. The handler behind it sees only deliveries whose sender and signature are proved.
type webhook struct {
	listener net.Listener
	server   *http.Server
	// content counts the bytes that the TLS layer has given to the application.
	content atomic.Int64

	mu   sync.Mutex
	seen []arrival
	ids  map[string]bool
}

// arrival is one request as the receiver saw it.
type arrival struct {
	at        time.Time
	id        string
	timestamp time.Time
	signature string
	client    string
	answered  int
}

// open listens on a free loopback port with a certificate of issuer. config starts out as a receiver should be; change
// may make it worse.
func open(issuer, clients *authority.Authority, change func(*tls.Config)) (*webhook, error) {
	certificatePEM, keyPEM, err := issuer.Server("127.0.0.1", "localhost")
	if err != nil {
		return nil, fmt.Errorf("issue the receiver's certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the receiver's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(clients.Certificate())
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
	if change != nil {
		change(config)
	}
	w := &webhook{server: &http.Server{TLSConfig: config, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}}
	if w.listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("open a receiver on loopback: %w", err)
	}
	return w, nil
}

// url is where the receiver listens.
func (w *webhook) url(path string) string { return "https://" + w.listener.Addr().String() + path }

// serve answers until close. statuses are the answers in turn, the last one for ever.
func (w *webhook) serve(keys []signature.Verifier, tracers trace.TracerProvider, statuses ...int) error {
	verify, err := receiver.New(receiver.Options{Clients: []string{local.ClientName}, Keys: keys, TracerProvider: tracers})
	if err != nil {
		return fmt.Errorf("start a receiver: %w", err)
	}
	w.server.Handler = w.count(verify(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(w.note(r, statuses))
	})))
	go w.server.ServeTLS(w.listener, "", "") //nolint:errcheck // it ends with close
	return nil
}

func (w *webhook) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.content.Add(1)
		r.Body = countingBody{ReadCloser: r.Body, total: &w.content}
		next.ServeHTTP(rw, r)
	})
}

type countingBody struct {
	io.ReadCloser

	total *atomic.Int64
}

func (b countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.total.Add(int64(n))
	return n, err //nolint:wrapcheck // io.Reader must pass io.EOF through
}

func (w *webhook) note(r *http.Request, statuses []int) int {
	delivery, _ := receiver.FromContext(r.Context())
	w.mu.Lock()
	defer w.mu.Unlock()
	status := statuses[min(len(w.seen), len(statuses)-1)]
	if w.ids == nil {
		w.ids = make(map[string]bool)
	}
	w.ids[delivery.ID] = true
	w.seen = append(w.seen, arrival{
		at: time.Now(), id: delivery.ID, timestamp: delivery.Time, client: delivery.ClientSAN,
		signature: r.Header.Get(signature.HeaderSignature), answered: status,
	})
	return status
}

// arrivals are the verified requests so far.
func (w *webhook) arrivals() []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]arrival(nil), w.seen...)
}

// verified reports whether a delivery has arrived and its sender and signature were proved.
func (w *webhook) verified(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ids[id]
}

func (w *webhook) close() error {
	return errors.Join(ignoreClosed(w.server.Close()), ignoreClosed(w.listener.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err //nolint:wrapcheck // told by the caller
}
