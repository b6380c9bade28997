package listener

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/signature"
)

// KeySource gives the keys by which signatures are checked. It is asked again when a signature does not hold, at most
// once a second, because keys are made and replaced while we listen.
type KeySource func(context.Context) ([]signature.Verifier, error)

// Options choose what the receiver does. Dir and Show are required.
type Options struct {
	// Address is host:port to listen on; port 0 picks a free one.
	Address string
	// Dir is where `handfast dev` keeps its authority.
	Dir string
	// Clients are the names that may call: absolute URIs and DNS names, one of which has to be a subject alternative name
	// of the caller's certificate, as a whole. Default [DefaultClient].
	Clients []string
	// Keys checks signatures; nil leaves them unchecked, and each delivery says so.
	Keys KeySource
	// Delay is waited before each answer.
	Delay time.Duration
	// Statuses are the answers in turn, the last one for ever. Default 200.
	Statuses []int
	// Refuse withholds the consent for which endpoints with an activation ask, and the echo of their client id.
	Refuse bool
	// Rate is how many requests per minute a sender is allowed that asks for it; 0 is no limit.
	Rate int
	// Asked gets, in words, each question for consent with its answer, one at a time; nil for silence.
	Asked func(string)
	// Show gets each delivery after its answer, one at a time.
	Show func(Delivery)
	// Shook gets each handshake, those that failed included, one at a time; nil for silence.
	Shook func(Handshake)
	// Trouble gets what the HTTP server has to complain about; nil for silence.
	Trouble func(string)
}

// DefaultClient is the name under which the dispatcher of `handfast dev` calls.
const DefaultClient = "spiffe://handfast.local/dispatcher"

// Listener is an open receiver. Close it, or end the context of [Listener.Serve].
type Listener struct {
	options  Options
	listener net.Listener
	roots    []byte
	config   *tls.Config

	mu       sync.Mutex
	answered int
	seen     map[string]int
	keys     []signature.Verifier
	asked    time.Time
	problem  error
}

// Open listens. The error says what to do: the authority is missing, or the port is in use.
func Open(ctx context.Context, o Options) (*Listener, error) {
	if len(o.Statuses) == 0 {
		o.Statuses = []int{http.StatusOK}
	}
	var problems []error
	for _, status := range o.Statuses {
		if status < 200 || status > 599 {
			problems = append(problems, fmt.Errorf("status %d is no final HTTP status; use 200 to 599", status))
		}
	}
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		problems = append(problems, fmt.Errorf("address %q is not HOST:PORT: %w", o.Address, err))
	}
	if len(o.Clients) == 0 {
		o.Clients = []string{DefaultClient}
	}
	if slices.Contains(o.Clients, "") {
		problems = append(problems, errors.New("an empty name names nobody who may call; give the name in the caller's certificate with --client"))
	}
	ca, err := load(o.Dir)
	if err != nil {
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	l := &Listener{options: o, roots: ca.CertificatePEM(), seen: make(map[string]int)}
	if l.config, err = serverConfig(ca, host); err != nil {
		return nil, err
	}
	l.config.VerifyConnection = l.allow
	if l.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address); err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another with --address", o.Address, err)
	}
	return l, nil
}

func load(dir string) (*authority.Authority, error) {
	name := filepath.Join(dir, "authority.pem")
	text, err := os.ReadFile(name) //nolint:gosec // the operator's own directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no development authority at %s; start `handfast dev` first, or name its directory with --dir", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the development authority: %w", err)
	}
	ca, err := authority.Load(text)
	if err != nil {
		return nil, fmt.Errorf("development authority %s: %w", name, err)
	}
	return ca, nil
}

func serverConfig(ca *authority.Authority, host string) (*tls.Config, error) {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) && host != "localhost" && host != "127.0.0.1" && host != "::1" {
		names = append(names, host)
	}
	certificatePEM, keyPEM, err := ca.Server(names...)
	if err != nil {
		return nil, fmt.Errorf("issue the receiver's certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load the receiver's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
		ClientCAs:      pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		// A resumed handshake shows no certificate.
		SessionTicketsDisabled: true,
	}, nil
}

// Address is where it really listens.
func (l *Listener) Address() string { return l.listener.Addr().String() }

// Document is an endpoint document, ready to be applied, that brings deliveries here.
func (l *Listener) Document(tenant, name string) string {
	_, port, _ := net.SplitHostPort(l.Address()) // net made it
	host, _, _ := net.SplitHostPort(l.options.Address)
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "tenant: %s\nname: %s\nurl: https://%s/\n", tenant, name, net.JoinHostPort(host, port))
	text.WriteString("tls:\n  trust:\n    roots: |\n")
	for line := range strings.Lines(string(l.roots)) {
		text.WriteString("      " + line)
	}
	return text.String()
}

const (
	headerTime = 10 * time.Second
	// stopTime is how long an answer that is being waited for may take at the end.
	stopTime = 2 * time.Second
)

// Serve answers until ctx ends. What is being answered then has two seconds to end; without that, it ends at once.
func (l *Listener) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler: http.HandlerFunc(l.serve), TLSConfig: l.config, ReadHeaderTimeout: headerTime,
		ErrorLog: log.New(trouble{tell: l.options.Trouble}, "", 0), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var now underway
	server.ConnState = now.note
	ended := make(chan error, 1)
	callers := &proved{Listener: l.listener, ready: make(chan net.Conn), ended: make(chan struct{})}
	go l.prove(ctx, callers)
	go func() { ended <- server.Serve(callers) }()
	select {
	case err := <-ended:
		return fmt.Errorf("receive on %s: %w", l.Address(), err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	now.whenNone(cancel) // Shutdown would wait for those who have connected and said nothing, too
	if err := server.Shutdown(stopping); err != nil {
		_ = server.Close() // nothing to save
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("receive on %s: %w", l.Address(), err)
	}
	return nil
}

// Close ends a listener that does not serve.
func (l *Listener) Close() error { return l.listener.Close() }

// trouble passes on what net/http logs.
type trouble struct{ tell func(string) }

func (t trouble) Write(line []byte) (int, error) {
	if t.tell != nil {
		t.tell(strings.TrimSpace(string(line)))
	}
	return len(line), nil
}
