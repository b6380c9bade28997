package pipe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Listener hands the far ends of what is dialled to Accept.
type Listener struct {
	size   int
	dialed chan net.Conn
	done   chan struct{}
	once   sync.Once
}

var errClosed = errors.New("listener closed")

// Listen makes a listener whose connections hold size bytes in each direction.
func Listen(size int) *Listener {
	return &Listener{size: size, dialed: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialed:
		return c, nil
	case <-l.done:
		return nil, errClosed
	}
}

// Close refuses further connections; those that there are go on.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is the same for all of them.
func (l *Listener) Addr() net.Addr { return addr{} }

// DialContext makes a connection, and waits until it is accepted.
func (l *Listener) DialContext(ctx context.Context) (net.Conn, error) {
	there, back := newWay(l.size), newWay(l.size)
	select {
	case l.dialed <- &conn{in: there, out: back}:
		return &conn{in: back, out: there}, nil
	case <-l.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// conn is one end.
type conn struct{ in, out *way }

// Read takes what the other end has written, and io.EOF after its close.
func (c *conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write waits for room.
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close lets the other end read what is on its way to it.
func (c *conn) Close() error {
	c.in.close(func(w *way) { w.unread = true })
	c.out.close(func(w *way) { w.unwritten = true })
	return nil
}

// SetDeadline is both of the others.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds reads, those that wait already included.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.bound(&c.in.reading, t)
	return nil
}

// SetWriteDeadline bounds writes likewise.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.bound(&c.out.writing, t)
	return nil
}

// LocalAddr is that of the listener.
func (*conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr is that of the listener, too.
func (*conn) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

// Network names it.
func (addr) Network() string { return "pipe" }

// String names it.
func (addr) String() string { return "pipe" }

// deadline is one side's.
type deadline struct {
	timer *time.Timer
	// set counts, so that a timer that was replaced while it fired does nothing.
	set    int
	passed bool
}

// way is one direction.
type way struct {
	size int

	mu      sync.Mutex
	changed sync.Cond
	data    []byte
	// unread tells that its reader has closed, and unwritten that its writer has.
	unread, unwritten bool
	reading, writing  deadline
}

func newWay(size int) *way {
	w := &way{size: size}
	w.changed.L = &w.mu
	return w
}

func (w *way) read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case w.unread:
			return 0, io.ErrClosedPipe
		case w.reading.passed:
			return 0, os.ErrDeadlineExceeded
		case len(w.data) > 0:
			n := copy(p, w.data)
			w.data = w.data[n:]
			w.changed.Broadcast()
			return n, nil
		case w.unwritten:
			return 0, io.EOF
		}
		w.changed.Wait()
	}
}

func (w *way) write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		room := w.size - len(w.data)
		switch {
		case w.unread || w.unwritten:
			return n, io.ErrClosedPipe
		case w.writing.passed:
			return n, os.ErrDeadlineExceeded
		case len(p) == 0:
			return n, nil
		case room > 0:
			some := min(room, len(p))
			w.data = append(w.data, p[:some]...)
			n, p = n+some, p[some:]
			w.changed.Broadcast()
			continue
		}
		w.changed.Wait()
	}
}

func (w *way) close(how func(*way)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	how(w)
	for _, d := range []*deadline{&w.reading, &w.writing} {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
	w.changed.Broadcast()
}

func (w *way) bound(d *deadline, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.set++
	d.passed = false
	if at.IsZero() {
		return
	}
	left := time.Until(at)
	if left <= 0 {
		d.passed = true
		w.changed.Broadcast()
		return
	}
	set := d.set
	d.timer = time.AfterFunc(left, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if d.set == set {
			d.passed = true
			w.changed.Broadcast()
		}
	})
}
