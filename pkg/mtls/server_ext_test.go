package mtls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// TestReceiverIsNotTrusted tells every fault of a receiver's certificate apart, and sends nothing.
func TestReceiverIsNotTrusted(t *testing.T) {
	p := newPeers(t, false)
	stranger := newTestAuthority(t, "a stranger")
	middle, err := p.serverCA.Intermediate("middle")
	require.NoError(t, err)
	issue := func(ca *authority.Authority, alter func(*x509.Certificate)) pair {
		return issuePair(t, ca, authority.Leaf{CommonName: receiverName, DNSNames: []string{receiverName}, Server: true, Alter: alter})
	}
	now := time.Now()
	good := issue(p.serverCA, nil)
	for name, tc := range map[string]struct {
		pair  pair
		pins  []string
		kind  mtls.Kind
		words string
	}{
		"unknown issuer": {pair: issue(stranger, nil), kind: mtls.ServerCertificateUntrusted, words: `issuer "CN=a stranger"`},
		"expired": {pair: issue(p.serverCA, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour)
		}), kind: mtls.ServerCertificateExpired, words: "is valid from"},
		"not yet valid": {pair: issue(p.serverCA, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour)
		}), kind: mtls.ServerCertificateExpired, words: "outside its validity"},
		"wrong name":  {pair: issue(p.serverCA, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }), kind: mtls.ServerNameMismatch, words: "but for other.test"},
		"common name": {pair: issue(p.serverCA, func(c *x509.Certificate) { c.DNSNames = nil }), kind: mtls.ServerNameMismatch, words: "a common name does not count"},
		"wrong usage": {pair: issue(p.serverCA, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), kind: mtls.ServerCertificateUntrusted, words: "not valid for a TLS server"},
		"missing intermediate": {
			pair: pair{toPEM(certificates(t, issue(middle, nil).certificate)[0]), nil}, kind: mtls.ServerCertificateUntrusted, words: `issuer "CN=middle"`,
		},
		"pin mismatch": {pair: good, pins: []string{mtls.Pin(stranger.Certificate())}, kind: mtls.ServerCertificateUntrusted, words: "pinned key"},
	} {
		if tc.pair.key == nil {
			whole := issue(middle, nil)
			tc.pair = pair{toPEM(certificates(t, whole.certificate)[0]), whole.key}
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				config := p.serverTLS(func(c *tls.Config) {
					c.Certificates, c.MaxVersion = serverConfig(t, tc.pair).Certificates, version
				})
				receiver := p.script(config, (*line).drain)
				target := p.target(receiver.address)
				target.Trust = trusting(t, p.serverCA, tc.pins...)
				before := p.open.Load()
				_, err := p.pool().Do(soon(t), target, post(64<<10))
				f := failureOf(t, err)
				assert.Equal(t, tc.kind, f.Kind, "%v", err)
				assert.Equal(t, mtls.Ours, f.Basis)
				assert.Contains(t, f.Detail, tc.words)
				assert.Contains(t, f.Detail, receiver.address)
				assert.NotEmpty(t, f.Advice)
				assert.False(t, f.BodySent)
				require.NotNil(t, f.Proof)
				require.NotNil(t, f.Proof.Server)
				sum := mustParse(t, config.Certificates[0].Certificate[0])
				assert.Equal(t, sum.Subject.String(), f.Proof.Server.Subject)
				assert.Empty(t, receiver.decrypted())
				assert.Equal(t, before, p.open.Load(), "connections left open")
			})
		}
	}
}

// TestNoTLS covers listeners with which TLS is not agreed at all.
func TestNoTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		serve func(net.Conn, *tls.Config)
		kind  mtls.Kind
		basis mtls.Basis
		words string
	}{
		"plain HTTP": {kind: mtls.HandshakeFailed, basis: mtls.Inferred, words: "does not speak TLS", serve: func(c net.Conn, _ *tls.Config) {
			_, _ = c.Read(make([]byte, 100))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		}},
		"TLS 1.1 at most": {kind: mtls.HandshakeFailed, basis: mtls.Said, words: "protocol version not supported", serve: func(c net.Conn, config *tls.Config) {
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			_ = tls.Server(c, config).Handshake()
		}},
		"no common cipher": {kind: mtls.HandshakeFailed, basis: mtls.Said, words: "handshake failure", serve: func(c net.Conn, config *tls.Config) {
			config.MaxVersion = tls.VersionTLS12
			config.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
			_ = tls.Server(c, config).Handshake()
		}},
		"silence": {kind: mtls.TimedOut, basis: mtls.Inferred, words: "did not finish the TLS handshake", serve: func(c net.Conn, _ *tls.Config) {
			_, _ = io.Copy(io.Discard, c)
		}},
		"closed at once":         {kind: mtls.HandshakeFailed, basis: mtls.Inferred, words: "in the middle of the TLS handshake", serve: func(net.Conn, *tls.Config) {}},
		"closed after the hello": {kind: mtls.HandshakeFailed, basis: mtls.Inferred, words: "in the middle of the TLS handshake", serve: func(c net.Conn, _ *tls.Config) { _, _ = c.Read(make([]byte, 4096)) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				l, address := p.listen()
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						go func() { tc.serve(c, p.serverTLS()); _ = c.Close() }()
					}
				}()
				began := time.Now()
				_, err := p.pool().Do(t.Context(), p.target(address), post(100))
				f := failureOf(t, err)
				assert.Equal(t, tc.kind, f.Kind, "%v", err)
				assert.Equal(t, tc.basis, f.Basis, "%v", err)
				assert.Contains(t, f.Detail, tc.words)
				assert.NotEmpty(t, f.Advice)
				if tc.kind == mtls.TimedOut {
					assert.Equal(t, 10*time.Second, time.Since(began))
				}
				synctest.Wait()
				assert.Zero(t, p.open.Load())
				_ = l.Close()
			})
		})
	}
}

func TestNotReached(t *testing.T) {
	p := newPeers(t, true)
	receiver := p.script(p.serverTLS(), answers(okay))
	nobody, closed := p.listen()
	require.NoError(t, nobody.Close())
	dns := func(e net.DNSError) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return nil, &net.OpError{Op: "dial", Err: &e} }
	}
	for name, tc := range map[string]struct {
		address string
		options mtls.Options
		kind    mtls.Kind
		basis   mtls.Basis
		words   string
	}{
		"loopback is forbidden":   {address: receiver.address, kind: mtls.AddressForbidden, basis: mtls.Ours, words: "loopback"},
		"a name that leads there": {address: "localhost:" + port(t, receiver.address), kind: mtls.AddressForbidden, basis: mtls.Ours, words: "loopback"},
		"nobody listens":          {address: closed, options: mtls.Options{Addresses: loopback(t)}, kind: mtls.ConnectionRefused, basis: mtls.Inferred, words: "refused the TCP connection"},
		"no such name":            {address: "x.invalid:443", options: mtls.Options{Dial: dns(net.DNSError{Err: "no such host", IsNotFound: true})}, kind: mtls.NameNotResolved, basis: mtls.Inferred, words: "no such host"},
		"silent name server":      {address: "x.invalid:443", options: mtls.Options{Dial: dns(net.DNSError{Err: "timeout", IsTimeout: true})}, kind: mtls.NameNotResolved, basis: mtls.Inferred, words: "did not answer"},
		"no route": {address: "x.test:443", options: mtls.Options{
			Dial:             func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
			HandshakeTimeout: 10 * time.Millisecond,
		}, kind: mtls.TimedOut, basis: mtls.Inferred, words: "no TCP connection"},
		"something else": {address: "x.test:443", options: mtls.Options{
			Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("the proxy said no") },
		}, kind: mtls.ConnectionLost, basis: mtls.Inferred, words: "the proxy said no"},
	} {
		t.Run(name, func(t *testing.T) {
			pool, err := mtls.NewPool(tc.options)
			require.NoError(t, err)
			defer pool.Close()
			_, err = pool.Do(soon(t), p.target(tc.address), post(100))
			f := failureOf(t, err)
			assert.Equal(t, tc.kind, f.Kind, "%v", err)
			assert.Equal(t, tc.basis, f.Basis)
			assert.Contains(t, f.Detail, tc.words)
			assert.False(t, f.BodySent)
		})
	}
	assert.Zero(t, receiver.accepts.Load(), "a forbidden address gets no packet")
	pool, err := mtls.NewPool(mtls.Options{Addresses: loopback(t)})
	require.NoError(t, err)
	defer pool.Close()
	response, err := pool.Do(soon(t), p.target(receiver.address), post(100))
	require.NoError(t, err, "and with the range allowed it works")
	assert.Equal(t, receiver.address, response.Proof.Remote)
}

func loopback(tb testing.TB) mtls.AddressPolicy {
	tb.Helper()
	policy, err := mtls.ParseAddressPolicy([]string{"127.0.0.0/8"})
	require.NoError(tb, err)
	return policy
}

func port(tb testing.TB, address string) string {
	tb.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(tb, err)
	return port
}

func TestInvalidRequests(t *testing.T) {
	p := newPeers(t, false)
	pool := p.pool()
	for name, alter := range map[string]func(*mtls.Request){
		"method":           func(r *mtls.Request) { r.Method = "PO ST" },
		"no method":        func(r *mtls.Request) { r.Method = "" },
		"relative path":    func(r *mtls.Request) { r.Path = "secret-path" },
		"space in path":    func(r *mtls.Request) { r.Path = "/secret-path HTTP/1.1" },
		"line end in path": func(r *mtls.Request) { r.Path = "/secret-path\r\nX: y" },
		"no host":          func(r *mtls.Request) { r.Host = "" },
		"host":             func(r *mtls.Request) { r.Host = "a b" },
		"header name":      func(r *mtls.Request) { r.Header["a b"] = []string{"x"} },
		"header value":     func(r *mtls.Request) { r.Header["A"] = []string{"secret-value\r\nB: c"} },
	} {
		t.Run(name, func(t *testing.T) {
			request := post(10)
			alter(request)
			_, err := pool.Do(t.Context(), p.target("192.0.2.1:443"), request)
			var invalid *mtls.RequestError
			require.ErrorAs(t, err, &invalid)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
	assert.Zero(t, p.dials.Load())
	_, err := mtls.NewPool(mtls.Options{UserAgent: "a\r\nb"})
	require.Error(t, err)
}

func TestNoIdentity(t *testing.T) {
	p := newPeers(t, false)
	for name, source := range map[string]mtls.Source{
		"none":    nil,
		"static":  mtls.Static(nil),
		"failing": sourceFunc(func() (*mtls.Identity, error) { return nil, fmt.Errorf("%w: the file is gone", mtls.ErrNoIdentity) }),
		"empty":   sourceFunc(func() (*mtls.Identity, error) { return nil, nil }), //nolint:nilnil // that is the test
	} {
		t.Run(name, func(t *testing.T) {
			target := p.target("192.0.2.1:443")
			target.Identity = source
			_, err := p.pool().Do(t.Context(), target, post(10))
			f := failureOf(t, err)
			assert.Equal(t, mtls.NoIdentity, f.Kind)
			require.ErrorIs(t, err, mtls.ErrNoIdentity)
		})
	}
}

type sourceFunc func() (*mtls.Identity, error)

func (f sourceFunc) Identity() (*mtls.Identity, error) { return f() }
