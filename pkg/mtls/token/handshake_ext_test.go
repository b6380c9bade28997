//go:build cgo

package token_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/mtls/token"
)

// receiver asks for a client certificate of their CA and greets whoever has one.
type receiver struct {
	address string
	roots   *x509.CertPool
}

func newReceiver(t *testing.T, ca theirCA) receiver {
	t.Helper()
	own, err := authority.New("receiver's root")
	require.NoError(t, err)
	certificatePEM, keyPEM, err := own.Server("127.0.0.1")
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), MinVersion: tls.VersionTLS12,
	})
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { greet(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	roots := x509.NewCertPool()
	roots.AddCert(own.Certificate())
	return receiver{listener.Addr().String(), roots}
}

// greet says the subject of the certificate that it has verified.
func greet(conn net.Conn) {
	defer conn.Close()
	secure := conn.(*tls.Conn)
	_ = secure.SetDeadline(time.Now().Add(20 * time.Second))
	if err := secure.Handshake(); err != nil {
		return
	}
	_, _ = io.WriteString(secure, secure.ConnectionState().PeerCertificates[0].Subject.CommonName)
}

// visit makes one full handshake and returns the receiver's greeting.
func (r receiver) visit(source mtls.Source, version uint16, schemes *[]tls.SignatureScheme) (string, error) {
	conn, err := tls.Dial("tcp", r.address, &tls.Config{
		RootCAs: r.roots, MinVersion: version, MaxVersion: version,
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			i, err := source.Identity()
			if err != nil {
				return nil, err
			}
			if schemes != nil {
				*schemes = info.SignatureSchemes
			}
			certificate := i.Certificate()
			return &certificate, i.Accepts(info)
		},
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	return string(greeting), err
}

func TestHandshakesWithAKeyInTheToken(t *testing.T) {
	kinds := map[string]token.KeyKind{"ECDSA P-256": token.ECDSAP256, "ECDSA P-384": token.ECDSAP384, "RSA 3072": token.RSA3072}
	versions := map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}
	for kindName, kind := range kinds {
		t.Run(kindName, func(t *testing.T) {
			b := newBench(t)
			b.withFile(kind)
			s := b.open(token.Options{})
			r := newReceiver(t, b.ca)
			for name, version := range versions {
				greeting, err := r.visit(s, version, nil)
				require.NoError(t, err, name)
				assert.Equal(t, "acme", greeting, name)
			}
		})
	}
}

func TestManyHandshakesShareTheSessions(t *testing.T) {
	b := newBench(t)
	b.withFile(token.ECDSAP256)
	b.config.Sessions = 4
	s := b.open(token.Options{})
	r := newReceiver(t, b.ca)
	visitMany(t, r, s, 200, nil)
}

// visitMany makes handshakes at the same time, half of them with TLS 1.2, and
// meanwhile does something to the token.
func visitMany(t *testing.T, r receiver, s mtls.Source, number int, meanwhile func()) {
	t.Helper()
	var all sync.WaitGroup
	errors := make(chan error, number)
	for n := range number {
		all.Go(func() {
			greeting, err := r.visit(s, uint16(tls.VersionTLS12+n%2), nil)
			if err == nil && greeting != "acme" {
				err = io.ErrUnexpectedEOF
			}
			errors <- err
		})
	}
	if meanwhile != nil {
		meanwhile()
	}
	all.Wait()
	close(errors)
	for err := range errors {
		require.NoError(t, err)
	}
}

func TestARestartOfTheTokenFailsNoHandshake(t *testing.T) {
	b := newBench(t)
	b.withFile(token.ECDSAP256)
	var log safeLog
	s := b.open(token.Options{Logger: log.logger()})
	r := newReceiver(t, b.ca)
	_, err := r.visit(s, tls.VersionTLS13, nil)
	require.NoError(t, err)

	b.restart()
	visitMany(t, r, s, 50, nil)
	assert.Equal(t, 1, strings.Count(log.String(), "token is gone"), log.String())
	assert.Equal(t, 1, strings.Count(log.String(), "token is back"), log.String())

	visitMany(t, r, s, 100, b.restart)
	assert.IsType(t, &ecdsa.PublicKey{}, identity(t, s).Leaf().PublicKey)
}
