package doctor

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

// bannerSize is enough to recognise another protocol by what its server says first.
const bannerSize = 96

// wire is a connection that remembers the first bytes that came from the other side.
type wire struct {
	net.Conn

	mu    sync.Mutex
	first []byte
}

// Read reads, and remembers.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	if room := bannerSize - len(w.first); room > 0 {
		w.first = append(w.first, p[:min(n, room)]...)
	}
	return n, err //nolint:wrapcheck // io.Reader must pass io.EOF through
}

func (w *wire) banner() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]byte(nil), w.first...)
}

// ear is a TLS connection that remembers its first read error. On TLS 1.3 a refused certificate shows there, and whoever
// parses an answer, or writes at that moment, would report an error of their own.
type ear struct {
	*tls.Conn

	mu    sync.Mutex
	first error
}

// Read reads, and remembers the first error.
func (e *ear) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.first == nil {
			e.first = err
		}
	}
	return n, err //nolint:wrapcheck // io.Reader must pass io.EOF through
}

// lastWord is how long a connection on which nothing can be written is listened to.
const lastWord = time.Second

// Write writes. When that fails it listens for the reason before anybody closes the connection.
func (e *ear) Write(p []byte) (int, error) {
	n, err := e.Conn.Write(p)
	if err != nil {
		_ = e.SetReadDeadline(time.Now().Add(lastWord))
		_, _ = io.Copy(io.Discard, io.LimitReader(e, maxHeader))
	}
	return n, err //nolint:wrapcheck // io.Writer
}

// heard is the first read error, or nil.
func (e *ear) heard() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.first
}
