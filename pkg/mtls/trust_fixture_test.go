package mtls_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

func newTestTrust(tb testing.TB, roots []*x509.Certificate, pins ...string) mtls.Trust {
	tb.Helper()
	trust, err := mtls.NewTrust(roots, pins)
	require.NoError(tb, err)
	return trust
}

func trusting(tb testing.TB, a *authority.Authority, pins ...string) mtls.Trust {
	tb.Helper()
	return newTestTrust(tb, []*x509.Certificate{a.Certificate()}, pins...)
}

func serverPair(tb testing.TB, a *authority.Authority, names ...string) pair {
	tb.Helper()
	certificate, key, err := a.Server(names...)
	require.NoError(tb, err)
	return pair{certificate, key}
}

// shake does a real handshake, in which VerifyConnection is the client's and the
// server has this certificate. It exchanges a byte so that session tickets
// arrive.
func shake(tb testing.TB, client, server *tls.Config) (tls.ConnectionState, error) {
	tb.Helper()
	near, far := net.Pipe()
	defer func() { _ = near.Close() }()
	far = newQueuedConn(far)
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer func() { _ = far.Close() }()
		conn := tls.Server(far, server)
		if conn.Handshake() == nil {
			_, _ = conn.Write([]byte{1})
		}
	}()
	conn := tls.Client(near, client)
	err := conn.Handshake()
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	_ = near.Close()
	<-served
	return conn.ConnectionState(), err
}

// queuedConn gives a pipe what a socket has: a write does not wait for the
// reader. Otherwise a client that refuses a certificate and the server that is
// still sending would wait for each other for ever.
type queuedConn struct {
	net.Conn

	queue chan []byte
}

func newQueuedConn(conn net.Conn) *queuedConn {
	c := &queuedConn{Conn: conn, queue: make(chan []byte, 64)}
	go func() {
		defer func() { _ = conn.Close() }()
		for p := range c.queue {
			if _, err := conn.Write(p); err != nil {
				return
			}
		}
	}()
	return c
}

func (c *queuedConn) Write(p []byte) (int, error) {
	c.queue <- bytes.Clone(p)
	return len(p), nil
}

// Close lets what is queued go out first.
func (c *queuedConn) Close() error {
	close(c.queue)
	return nil
}

func serverConfig(tb testing.TB, p pair) *tls.Config {
	tb.Helper()
	certificate, err := tls.X509KeyPair(p.certificate, p.key)
	require.NoError(tb, err)
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
}

// clientConfig is how a pool uses a Trust.
func clientConfig(trust mtls.Trust, name string) *tls.Config {
	return &tls.Config{
		ServerName: name,
		RootCAs:    trust.RootCAs(),
		MinVersion: tls.VersionTLS12,
		VerifyConnection: func(cs tls.ConnectionState) error {
			return trust.Verify(cs, name, time.Now())
		},
	}
}

// wraps is errors.As as a value for tables.
func wraps[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
