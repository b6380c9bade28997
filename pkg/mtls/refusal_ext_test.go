package mtls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// wrongUsage is a client certificate below a root that may only issue for servers. Its own usage is right, or the identity would be refused before it could be presented.
func wrongUsage(tb testing.TB) (identity *mtls.Identity, root *x509.Certificate) {
	tb.Helper()
	issue := func(name string, ca bool, usage x509.ExtKeyUsage, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(tb, err)
		c := &x509.Certificate{
			SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: ca, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		}
		if !ca {
			c.KeyUsage = x509.KeyUsageDigitalSignature
		}
		if parent == nil {
			parent, by = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
		require.NoError(tb, err)
		return mustParse(tb, der), key
	}
	root, rootKey := issue("for servers only", true, x509.ExtKeyUsageServerAuth, nil, nil)
	leaf, leafKey := issue("handfast", false, x509.ExtKeyUsageClientAuth, root, rootKey)
	return pair{toPEM(leaf), keyToPEM(tb, leafKey)}.identity(tb, "default"), root
}

func TestRefusedByTLS(t *testing.T) {
	const size = 64 << 10
	p := newPeers(t, true)
	stranger := newTestAuthority(t, "a stranger")
	usage, usageRoot := wrongUsage(t)
	past := time.Now().Add(-time.Hour)
	expiredPair := issuePair(t, p.clientCA, authority.Leaf{CommonName: "handfast", Client: true, NotBefore: past.Add(-time.Hour), NotAfter: past})
	expired, err := mtls.NewIdentity("default", expiredPair.certificate, expiredPair.key, past.Add(-time.Minute))
	require.NoError(t, err)

	for name, tc := range map[string]struct {
		identity *mtls.Identity
		alter    func(*tls.Config)
		alert    string
		unlisted bool
	}{
		"unknown issuer":  {identity: p.identity, alter: func(c *tls.Config) { c.ClientCAs = certPool(stranger) }, alert: "unknown certificate authority", unlisted: true},
		"expired":         {identity: expired, alter: func(*tls.Config) {}, alert: "expired certificate"},
		"wrong usage":     {identity: usage, alter: func(c *tls.Config) { c.ClientCAs = x509.NewCertPool(); c.ClientCAs.AddCert(usageRoot) }, alert: "bad certificate"},
		"not on its list": {identity: p.identity, alter: func(c *tls.Config) { c.VerifyConnection = refuse }, alert: "bad certificate"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, proto := range []string{"h2", "http/1.1"} {
				t.Run(fmt.Sprintf("%s, %s, %s", name, tls.VersionName(version), proto), func(t *testing.T) {
					receiver := p.script(p.serverTLS(tc.alter, func(c *tls.Config) {
						c.MinVersion, c.MaxVersion, c.NextProtos = version, version, []string{proto}
					}), (*line).drain)
					target := p.target(receiver.address)
					target.Identity = mtls.Static(tc.identity)
					pool := p.pool()
					times := 5
					if version == tls.VersionTLS13 {
						times = 50
					}
					for range times {
						_, err := pool.Do(soon(t), target, post(size))
						f := failureOf(t, err)
						require.Equal(t, mtls.ClientCertificateRefused, f.Kind, "%v", err)
						require.Equal(t, mtls.Said, f.Basis, "%v", err)
						require.Contains(t, f.Detail, tc.alert)
						require.Contains(t, f.Detail, "CN=handfast")
						require.NotEmpty(t, f.Advice)
						require.False(t, f.BodySent)
						require.False(t, f.Reused)
						require.True(t, f.Proof.Requested)
						require.Equal(t, tc.unlisted, f.Proof.Unlisted != "")
						require.Equal(t, tc.identity.Fingerprint(), f.Proof.Client.Fingerprints[0])
					}
					assert.EqualValues(t, times, receiver.accepts.Load(), "a refusal is not repeated within a call")
					assert.Empty(t, receiver.decrypted())
					assert.Less(t, receiver.raw.Load(), int64(times*8<<10), "no ciphertext of the body either")
					assert.Zero(t, p.open.Load(), "connections left open")
				})
			}
		}
	}
}

func refuse(tls.ConnectionState) error { return errors.New("this name is not on the list") }

// TestRefusedByClosing is the receiver as net/http and most others are: it closes at once, so that the alert races with
// what we write.
func TestRefusedByClosing(t *testing.T) {
	p := newPeers(t, true)
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2 %t", http2), func(t *testing.T) {
			var served atomic.Int64
			receiver := p.website(p.serverTLS(func(c *tls.Config) { c.ClientCAs = certPool(p.serverCA) }),
				func(http.ResponseWriter, *http.Request) { served.Add(1) }, http2)
			pool := p.pool()
			for range 100 {
				_, err := pool.Do(soon(t), p.target(receiver.address), post(64<<10))
				f := failureOf(t, err)
				require.Equal(t, mtls.ClientCertificateRefused, f.Kind, "%v", err)
				require.Equal(t, mtls.Said, f.Basis, "%v", err)
				require.False(t, f.BodySent)
			}
			assert.Zero(t, served.Load())
		})
	}
}

func TestRefusedWithoutAWord(t *testing.T) {
	p := newPeers(t, true)
	for name, serve := range map[string]func(*line){
		"closed":                  func(l *line) { _ = l.Close() },
		"closed without a notify": func(l *line) { _ = l.raw.Close() },
		"reset":                   func(l *line) { _ = l.raw.(*net.TCPConn).SetLinger(0); _ = l.raw.Close() },
		"closed after the header": func(l *line) { _, _ = l.header(); _ = l.Close() },
	} {
		for _, proto := range []string{"h2", "http/1.1"} {
			if proto == "h2" && name == "closed after the header" {
				continue // there is none before the ping is answered
			}
			t.Run(name+", "+proto, func(t *testing.T) {
				receiver := p.script(p.serverTLS(func(c *tls.Config) { c.NextProtos = []string{proto} }), serve)
				pool := p.pool()
				for range 20 {
					_, err := pool.Do(soon(t), p.target(receiver.address), post(64<<10))
					f := failureOf(t, err)
					require.Equal(t, mtls.ClientCertificateRefused, f.Kind, "%v", err)
					require.Equal(t, mtls.Inferred, f.Basis)
					require.False(t, f.BodySent)
					require.Contains(t, f.Detail, "cut the connection")
				}
				assert.NotContains(t, receiver.decrypted(), "BBBB")
			})
		}
	}
}

func TestRefusedByPage(t *testing.T) {
	p := newPeers(t, false)
	page := func(status int, text string) string {
		return fmt.Sprintf("HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
	}
	for name, tc := range map[string]struct {
		answer string
		basis  mtls.Basis // 0: an ordinary answer
	}{
		"nginx, none":      {page(400, "<html><head><title>400 No required SSL certificate was sent</title>"), mtls.Said},
		"nginx, wrong":     {page(400, "<html><title>400 The SSL certificate error</title>"), mtls.Said},
		"nginx 495":        {page(495, ""), mtls.Said},
		"nginx 496":        {page(496, ""), mtls.Said},
		"misdirected":      {page(421, ""), mtls.Inferred},
		"ordinary 400":     {page(400, "the field certificate is missing"), 0},
		"ordinary 403":     {page(403, "No required SSL certificate was sent"), 0},
		"ordinary success": {page(200, "The SSL certificate error"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			receiver := p.script(p.serverTLS(), func(l *line) { // it answers the header, as nginx does
				if _, ok := l.header(); ok {
					l.say(tc.answer)
					l.drain()
				}
			})
			target := p.target(receiver.address)
			response, err := p.pool().Do(soon(t), target, post(64<<10))
			require.NoError(t, err)
			if response.Status >= 300 {
				assert.NotContains(t, receiver.decrypted(), "BBBB", "the body was held back")
			}
			f := mtls.RefusedByPage(target, response)
			if tc.basis == 0 {
				assert.Nil(t, f)
				return
			}
			require.NotNil(t, f)
			assert.Equal(t, mtls.ClientCertificateRefused, f.Kind)
			assert.Equal(t, tc.basis, f.Basis)
			assert.NotNil(t, f.Proof)
			assert.NotEmpty(t, f.Advice)
		})
	}
}

func TestMutual(t *testing.T) {
	p := newPeers(t, false)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, proto := range []string{"h2", "http/1.1"} {
			for _, mutual := range []mtls.Mutual{mtls.Required, mtls.Requested} {
				t.Run(fmt.Sprintf("%s, %s, %d", tls.VersionName(version), proto, mutual), func(t *testing.T) {
					config := p.serverTLS(func(c *tls.Config) {
						c.MaxVersion, c.ClientAuth, c.NextProtos = version, tls.NoClientCert, []string{proto}
					})
					receiver := p.script(config, (*line).drain)
					if mutual == mtls.Requested {
						w := p.website(config, readAll, proto == "h2")
						receiver.address = w.address
					}
					target := p.target(receiver.address)
					target.Mutual = mutual
					before := p.open.Load()
					response, err := p.pool().Do(soon(t), target, post(64<<10))
					if mutual == mtls.Requested {
						require.NoError(t, err)
						assert.Equal(t, http.StatusNoContent, response.Status)
						assert.False(t, response.Proof.Requested)
						assert.Nil(t, response.Proof.Client)
						return
					}
					f := failureOf(t, err)
					assert.Equal(t, mtls.ClientCertificateNotRequested, f.Kind)
					assert.Equal(t, mtls.Ours, f.Basis)
					assert.Contains(t, f.Detail, "did not ask")
					assert.False(t, f.BodySent)
					assert.Equal(t, before, p.open.Load(), "connections left open")
					assert.Empty(t, receiver.decrypted(), "not a byte of HTTP")
				})
			}
		}
	}
}
