package mtls_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/tests/pipe"
)

const receiverName = "receiver.test"

// peers are two authorities that know each other, and a network in memory.
type peers struct {
	tb               testing.TB
	serverCA         *authority.Authority
	clientCA         *authority.Authority
	mu               sync.Mutex
	listeners        map[string]net.Listener
	sockets          bool
	identity         *mtls.Identity
	dials            atomic.Int64
	open             atomic.Int64 // connections that the pool holds
	receiverSequence int
}

// newPeers joins pools and receivers in memory, or by real sockets of the loopback.
func newPeers(tb testing.TB, sockets bool) *peers {
	tb.Helper()
	p := &peers{
		tb: tb, sockets: sockets, listeners: make(map[string]net.Listener),
		serverCA: newTestAuthority(tb, "receivers"), clientCA: newTestAuthority(tb, "clients"),
	}
	p.identity = clientPair(tb, p.clientCA, "handfast").identity(tb, "default")
	return p
}

func (p *peers) pool(alter ...func(*mtls.Options)) *mtls.Pool {
	p.tb.Helper()
	options := mtls.Options{Dial: p.dial}
	for _, a := range alter {
		a(&options)
	}
	pool, err := mtls.NewPool(options)
	require.NoError(p.tb, err)
	p.tb.Cleanup(pool.Close)
	return pool
}

func (p *peers) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p.dials.Add(1)
	p.mu.Lock()
	l := p.listeners[address]
	p.mu.Unlock()
	var conn net.Conn
	var err error
	switch l := l.(type) {
	case nil:
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	case *pipe.Listener:
		conn, err = l.DialContext(ctx)
	default:
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	p.open.Add(1)
	once := sync.OnceFunc(func() { p.open.Add(-1) })
	if socket, ok := conn.(*net.TCPConn); ok {
		return &countedSocket{TCPConn: socket, closed: once}, nil
	}
	return &countedConn{Conn: conn, closed: once}, nil
}

type countedConn struct {
	net.Conn

	closed func()
}

func (c *countedConn) Close() error { c.closed(); return c.Conn.Close() }

type countedSocket struct {
	*net.TCPConn

	closed func()
}

func (c *countedSocket) Close() error { c.closed(); return c.TCPConn.Close() }

// listen opens a receiver's port.
func (p *peers) listen() (net.Listener, string) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sockets {
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		require.NoError(p.tb, err)
		p.listeners[l.Addr().String()] = l
		return l, l.Addr().String()
	}
	l := pipe.Listen(256 << 10)
	p.receiverSequence++
	address := net.JoinHostPort(netip.AddrFrom4([4]byte{192, 0, 2, byte(p.receiverSequence)}).String(), "443")
	p.listeners[address] = l
	return l, address
}

// serverTLS is a receiver as it should be: the right certificate, and ours required.
func (p *peers) serverTLS(alter ...func(*tls.Config)) *tls.Config {
	p.tb.Helper()
	config := serverConfig(p.tb, serverPair(p.tb, p.serverCA, receiverName))
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = certPool(p.clientCA)
	for _, a := range alter {
		a(config)
	}
	return config
}

func certPool(authorities ...*authority.Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.Certificate())
	}
	return pool
}

func (p *peers) target(address string) mtls.Target {
	return mtls.Target{
		Authority: address, ServerName: receiverName,
		Identity: mtls.Static(p.identity), Trust: trusting(p.tb, p.serverCA),
	}
}

// post is a delivery with a secret path and a body of that many bytes.
func post(size int) *mtls.Request {
	return &mtls.Request{
		Method: http.MethodPost, Path: "/secret-path?secret-query=1", Host: receiverName,
		Header: http.Header{"Webhook-Id": {"msg_1"}, "Content-Type": {"application/json"}},
		Body:   bytes.Repeat([]byte("B"), size),
	}
}

// script is a receiver that does by hand whatever a test wants, one call for each connection.
type script struct {
	address string
	accepts atomic.Int64
	raw     atomic.Int64 // bytes on the wire from the pool, TLS included
	mu      sync.Mutex
	plain   bytes.Buffer // all that was decrypted
	done    sync.WaitGroup
}

// line is one connection of a script.
type line struct {
	*tls.Conn

	raw    net.Conn
	script *script
	br     *bufio.Reader
	number int // of the connection, from 1
}

// Read records what it decrypts.
func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.script.mu.Lock()
	l.script.plain.Write(p[:n])
	l.script.mu.Unlock()
	return n, err
}

type meteredConn struct {
	net.Conn

	read *atomic.Int64
}

func (c meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// script starts a receiver. The handshake is done when serve is called; one that fails is drained to its end, so that
// every byte is counted.
func (p *peers) script(config *tls.Config, serve func(*line)) *script {
	p.tb.Helper()
	l, address := p.listen()
	s := &script{address: address}
	s.done.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			number := int(s.accepts.Add(1))
			s.done.Go(func() {
				defer raw.Close()
				metered := meteredConn{Conn: raw, read: &s.raw}
				conn := &line{Conn: tls.Server(metered, config), raw: raw, script: s, number: number}
				conn.br = bufio.NewReader(conn)
				if err := conn.Handshake(); err != nil {
					_, _ = io.Copy(io.Discard, metered)
					return
				}
				serve(conn)
			})
		}
	})
	p.tb.Cleanup(func() { _ = l.Close(); s.done.Wait() })
	return s
}

func (s *script) decrypted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plain.String()
}

// header reads a request without its body.
func (l *line) header() (*http.Request, bool) {
	r, err := http.ReadRequest(l.br)
	return r, err == nil
}

// request reads a whole request and says "go on" when that is expected.
func (l *line) request() (*http.Request, []byte, bool) {
	r, ok := l.header()
	if !ok {
		return nil, nil, false
	}
	if r.Header.Get("Expect") != "" {
		l.say("HTTP/1.1 100 Continue\r\n\r\n")
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err == nil
}

func (l *line) say(text string) { _, _ = io.WriteString(l.Conn, text) }

// drain reads until the pool closes.
func (l *line) drain() { _, _ = io.Copy(io.Discard, l.br) }

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// website is a receiver made of net/http.
type website struct {
	address string
	server  *http.Server
	accepts atomic.Int64
	active  atomic.Int64
}

func (p *peers) website(config *tls.Config, handler http.HandlerFunc, http2 bool) *website {
	p.tb.Helper()
	l, address := p.listen()
	w := &website{address: address}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(http2)
	posts := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions { // the request without a body that comes first on HTTP/2
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		handler(w, r)
	}
	w.server = &http.Server{
		Handler: http.HandlerFunc(posts), TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute, Protocols: protocols,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				w.accepts.Add(1)
				w.active.Add(1)
			case http.StateClosed, http.StateHijacked:
				w.active.Add(-1)
			case http.StateActive, http.StateIdle:
			}
		},
	}
	var served sync.WaitGroup
	served.Go(func() { _ = w.server.ServeTLS(l, "", "") })
	p.tb.Cleanup(func() { _ = w.server.Close(); served.Wait() })
	return w
}

func readAll(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusNoContent)
}

func failureOf(tb testing.TB, err error) *mtls.Failure {
	tb.Helper()
	var failure *mtls.Failure
	require.ErrorAs(tb, err, &failure)
	return failure
}

func soon(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	tb.Cleanup(cancel)
	return ctx
}
