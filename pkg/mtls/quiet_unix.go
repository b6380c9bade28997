//go:build unix

package mtls

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quiet reports whether an idle connection is still open with nothing to read. It peeks without blocking, so that a
// receiver's close is seen without a goroutine that waits for it. What is no socket counts as quiet.
func quiet(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	var one [1]byte
	err = raw.Read(func(fd uintptr) bool {
		_, _, peek := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT) //nolint:gosec // a file descriptor
		silent = errors.Is(peek, unix.EAGAIN)
		return true
	})
	return err == nil && silent
}
