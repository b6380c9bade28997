package mtls

import (
	"errors"
	"net"
	"syscall"
)

// wire is the raw connection under TLS. It can be asked for what has arrived already, so that an idle connection is
// looked at, through TLS, without a goroutine that waits for it and without ever blocking.
type wire struct {
	net.Conn

	socket syscall.RawConn // nil for what is no socket: there nothing is seen before it is read for
	// looking makes Read return at once. Only the one who holds an idle connection sets it.
	looking bool
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn}
	if socket, ok := conn.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			w.socket = raw
		}
	}
	return w
}

// Read reads; a wait that ran out is told in the one way that crypto/tls does not take for the end of the connection.
func (w *wire) Read(p []byte) (int, error) {
	if w.looking {
		return w.arrived(p)
	}
	n, err := w.Conn.Read(p)
	if isTimeout(err) {
		err = &waitedError{cause: err}
	}
	return n, err //nolint:wrapcheck // io.Reader must pass io.EOF through
}

// waitedError is a read that got nothing in time. crypto/tls goes on after it only because it is temporary, which not
// every kind of net.Conn says of its own.
type waitedError struct{ cause error }

var errNothingYet = errors.New("nothing has arrived")

func (e *waitedError) Error() string   { return e.cause.Error() }
func (e *waitedError) Unwrap() error   { return e.cause }
func (e *waitedError) Timeout() bool   { return true }
func (e *waitedError) Temporary() bool { return true }
