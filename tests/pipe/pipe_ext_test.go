package pipe_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/handfast/handfast/tests/pipe"
)

func joined(t *testing.T, size int) (near, far net.Conn) {
	t.Helper()
	l := pipe.Listen(size)
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		assert.NoError(t, err)
		accepted <- c
	}()
	near, err := l.DialContext(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return near, <-accepted
}

// TestItIsAConnection is the Go project's own test of what a net.Conn must do.
func TestItIsAConnection(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = joined(t, 4<<10)
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	})
}

func TestABufferInEachDirection(t *testing.T) {
	near, far := joined(t, 8)
	n, err := near.Write([]byte("12345678"))
	require.NoError(t, err, "nobody reads")
	assert.Equal(t, 8, n)
	require.NoError(t, near.SetWriteDeadline(time.Now().Add(-time.Second)))
	_, err = near.Write([]byte("9"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, near.Close())
	all, err := io.ReadAll(far)
	require.NoError(t, err)
	assert.Equal(t, "12345678", string(all), "what was on its way arrives")
	_, err = far.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestDeadlinesInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := joined(t, 8)
		began := time.Now()
		require.NoError(t, near.SetReadDeadline(began.Add(time.Hour)))
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Hour, time.Since(began))
		require.NoError(t, near.SetReadDeadline(time.Time{}))
		_, err = far.Write([]byte("x"))
		require.NoError(t, err)
		_, err = near.Read(make([]byte, 1))
		require.NoError(t, err, "another deadline, another chance")
	})
}

func TestAClosedListenerRefuses(t *testing.T) {
	l := pipe.Listen(1)
	require.NoError(t, l.Close())
	_, err := l.DialContext(t.Context())
	require.Error(t, err)
	_, err = l.Accept()
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = pipe.Listen(1).DialContext(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
