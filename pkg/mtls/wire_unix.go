//go:build unix

package mtls

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// arrived reads what the kernel holds already. It goes by Control and not by the socket's own Read, which would refuse
// once a deadline of the exchange before has passed.
func (w *wire) arrived(p []byte) (n int, err error) {
	if w.socket == nil {
		return 0, &waitedError{cause: errNothingYet}
	}
	outer := w.socket.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), p, unix.MSG_DONTWAIT)
	})
	switch {
	case outer != nil:
		return 0, outer //nolint:wrapcheck // closed on our side
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, &waitedError{cause: errNothingYet}
	case err != nil:
		return 0, err //nolint:wrapcheck // io.Reader
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
