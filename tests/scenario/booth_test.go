package scenario

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// booth is a receiver that keeps every byte that TLS lets through, by the name of the client, and the bytes on the wire
// of the connections whose handshake it breaks off. It accepts no message from a name that it does not let in.
type booth struct {
	handler http.Handler
	// broken breaks off the handshake of a name that is not let in; otherwise it is answered 403.
	broken bool

	mu      sync.Mutex
	names   []string
	plain   map[string]*bytes.Buffer
	resumed map[string]int
	raw     map[string]int
}

func newBooth(broken bool, names ...string) *booth {
	b := &booth{broken: broken, names: names, plain: make(map[string]*bytes.Buffer), resumed: make(map[string]int), raw: make(map[string]int)}
	b.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		name := r.TLS.PeerCertificates[0].URIs[0].String()
		if !b.lets(name) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // so that the next one resumes
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return b
}

func (b *booth) accept(names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names = names
}

func (b *booth) lets(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.names, name)
}

// spoken tells whether a client has ever sent these bytes.
func (b *booth) spoken(name, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.plain[name] != nil && bytes.Contains(b.plain[name].Bytes(), []byte(text))
}

// forget begins anew.
func (b *booth) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plain, b.resumed = make(map[string]*bytes.Buffer), make(map[string]int)
}

func (b *booth) resumptions(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resumed[name]
}

// broke is how many bytes came on the wire on connections that were broken off, TLS included.
func (b *booth) broke(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.raw[name]
}

// countedConn counts what comes over the wire.
type countedConn struct {
	net.Conn

	n int
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += n
	return n, err
}

// overheard writes down what TLS lets through. It is still a connection of TLS to whoever serves it.
type overheard struct {
	*tls.Conn

	booth *booth
	name  string
}

func (c overheard) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.booth.mu.Lock()
	defer c.booth.mu.Unlock()
	if c.booth.plain[c.name] == nil {
		c.booth.plain[c.name] = &bytes.Buffer{}
	}
	c.booth.plain[c.name].Write(p[:n])
	return n, err
}

func (b *booth) serve(l net.Listener, config *tls.Config) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go b.talk(&countedConn{Conn: conn}, config)
	}
}

func (b *booth) talk(counted *countedConn, config *tls.Config) {
	secure := tls.Server(counted, config)
	defer secure.Close()
	_ = secure.SetDeadline(time.Now().Add(time.Minute))
	if secure.Handshake() != nil {
		return
	}
	state := secure.ConnectionState()
	name := state.PeerCertificates[0].URIs[0].String()
	b.mu.Lock()
	if state.DidResume {
		b.resumed[name]++
	}
	b.mu.Unlock()
	if b.broken && !b.lets(name) {
		// As a receiver does that decides after the handshake: it reads what is there, says nothing and cuts.
		_ = secure.SetDeadline(time.Now().Add(300 * time.Millisecond))
		_, _ = io.Copy(io.Discard, overheard{secure, b, name})
		b.mu.Lock()
		b.raw[name] += counted.n
		b.mu.Unlock()
		return
	}
	serveOne(overheard{secure, b, name}, state, b.handler)
}

// serveOne answers requests, in the protocol that was agreed on, on one connection until it is closed.
func serveOne(conn net.Conn, state tls.ConnectionState, handler http.Handler) {
	ended := make(chan struct{})
	l := &oneConn{conn: conn, ended: ended}
	var protocols http.Protocols
	protocols.SetHTTP1(state.NegotiatedProtocol != "h2")
	protocols.SetUnencryptedHTTP2(state.NegotiatedProtocol == "h2")
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Protocols: &protocols,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.TLS = &state
			handler.ServeHTTP(w, r)
		}),
		ConnState: func(_ net.Conn, now http.ConnState) {
			if now == http.StateClosed {
				l.Close()
			}
		},
	}
	_ = s.Serve(l)
}

// oneConn is a listener that has one connection to give.
type oneConn struct {
	mu    sync.Mutex
	conn  net.Conn
	ended chan struct{}
	done  bool
}

func (l *oneConn) Accept() (net.Conn, error) {
	l.mu.Lock()
	conn := l.conn
	l.conn = nil
	l.mu.Unlock()
	if conn != nil {
		return plainConn{conn}, nil
	}
	<-l.ended
	return nil, net.ErrClosed
}

// plainConn hides from net/http that the connection is one of TLS already.
type plainConn struct{ net.Conn }

func (l *oneConn) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done {
		l.done = true
		close(l.ended)
	}
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
