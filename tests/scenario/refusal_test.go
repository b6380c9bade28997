package scenario

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

const (
	marker = "this-must-never-leave"
	// bodySize is large, so that a body would be seen on the wire even where nobody can decrypt it.
	bodySize = 64 << 10
)

func pool(cas ...*authority.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	for _, ca := range cas {
		p.AddCert(ca.Certificate())
	}
	return p
}

// wire is a receiver that keeps every byte: what came over the wire, and what TLS made of it.
type wire struct {
	mu               sync.Mutex
	plain            bytes.Buffer
	raw              bytes.Buffer
	handshakes, fine int
}

type recordedConn struct {
	net.Conn

	wire *wire
}

func (c recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.mu.Lock()
	c.wire.raw.Write(p[:n])
	c.wire.mu.Unlock()
	return n, err
}

// serve shakes hands and then only listens, until the other side ends or ten seconds are over.
func (r *wire) serve(l net.Listener, config *tls.Config) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			secure := tls.Server(recordedConn{Conn: conn, wire: r}, config)
			_ = secure.SetDeadline(time.Now().Add(10 * time.Second))
			err := secure.Handshake()
			r.mu.Lock()
			r.handshakes++
			if err == nil {
				r.fine++
			}
			r.mu.Unlock()
			if err != nil {
				return
			}
			buffer := make([]byte, 4096)
			for {
				n, err := secure.Read(buffer)
				r.mu.Lock()
				r.plain.Write(buffer[:n])
				r.mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
	}
}

// TestNothingLeavesWithoutMutualTrust goes through the refusals one by one, on both versions of TLS: each has its
// outcome, no byte of the message leaves, and the delivery is held.
func TestNothingLeavesWithoutMutualTrust(t *testing.T) {
	type setting struct {
		server *tls.Config
		leaf   authority.Leaf
	}
	leaf := func() authority.Leaf { return authority.Leaf{URIs: kit.URIs(kit.ClientName), Client: true} }
	serverLeaf := func(t *testing.T, w *kit.World, ca *authority.Authority, l authority.Leaf) *tls.Config {
		certificatePEM, keyPEM, err := ca.Issue(l)
		require.NoError(t, err)
		certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
		require.NoError(t, err)
		return &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: pool(w.ClientCA), ClientAuth: tls.RequireAndVerifyClientCert}
	}
	stranger := func(t *testing.T) *authority.Authority {
		ca, err := authority.New("Somebody else")
		require.NoError(t, err)
		return ca
	}
	const host = "hooks.example.com"
	cases := map[string]struct {
		want  delivery.Outcome
		build func(t *testing.T, w *kit.World) setting
	}{
		"the receiver does not ask": {delivery.ClientCertificateNotRequested, func(_ *testing.T, w *kit.World) setting {
			c := w.ServerTLS(host)
			c.ClientAuth = tls.NoClientCert
			return setting{c, leaf()}
		}},
		"the receiver trusts other clients": {delivery.ClientCertificateRefused, func(t *testing.T, w *kit.World) setting {
			c := w.ServerTLS(host)
			c.ClientCAs = pool(stranger(t))
			return setting{c, leaf()}
		}},
		"our certificate has expired for the receiver": {delivery.ClientCertificateRefused, func(_ *testing.T, w *kit.World) setting {
			c := w.ServerTLS(host)
			c.Time = func() time.Time { return time.Now().Add(365 * 24 * time.Hour) }
			return setting{c, leaf()}
		}},
		"nobody knows the receiver's issuer": {delivery.ServerCertificateUntrusted, func(t *testing.T, w *kit.World) setting {
			return setting{serverLeaf(t, w, stranger(t), authority.Leaf{DNSNames: []string{host}, Server: true}), leaf()}
		}},
		"the receiver's certificate has expired": {delivery.ServerCertificateExpired, func(t *testing.T, w *kit.World) setting {
			now := time.Now()
			return setting{serverLeaf(t, w, w.ServerCA, authority.Leaf{
				DNSNames: []string{host}, Server: true, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(-time.Second),
			}), leaf()}
		}},
		"the receiver's certificate is for another name": {delivery.ServerNameMismatch, func(t *testing.T, w *kit.World) setting {
			return setting{serverLeaf(t, w, w.ServerCA, authority.Leaf{DNSNames: []string{"other.example.com"}, Server: true}), leaf()}
		}},
		"the receiver's certificate is a client's": {delivery.ServerCertificateUntrusted, func(t *testing.T, w *kit.World) setting {
			return setting{serverLeaf(t, w, w.ServerCA, authority.Leaf{DNSNames: []string{host}, Client: true}), leaf()}
		}},
	}
	for name, c := range cases {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				kit.Bubble(t, func(t *testing.T) {
					w := kit.New(t)
					s := c.build(t, w)
					s.server.MinVersion, s.server.MaxVersion = version, version
					w.Identity = mtls.Static(w.Mint(s.leaf))
					seen := &wire{}
					listener := w.Network.Listen(host + ":443")
					go seen.serve(listener, s.server)
					defer listener.Close()
					w.Apply(w.Document(host, "acme", "orders", schedule("1m")))
					w.Start()
					w.Pass(time.Second)
					w.Publish("acme", "com.acme.order.created", `"`+strings.Repeat(marker, bodySize/len(marker))+`"`)
					w.Pass(10 * time.Minute)

					receipts := w.Receipts()
					require.NotEmpty(t, receipts)
					for _, got := range receipts {
						assert.Equal(t, c.want, got.Outcome, got.Detail)
						assert.NotEmpty(t, got.Detail)
						assert.NotEmpty(t, got.Advice)
						require.NotNil(t, got.Proof)
						assert.NotNil(t, got.Next)
					}
					assert.Equal(t, 1, w.Count(stream.Retries)+w.Count(stream.Backlog), "held, not dropped")
					seen.mu.Lock()
					defer seen.mu.Unlock()
					assert.Positive(t, seen.handshakes)
					assert.NotContains(t, seen.raw.String(), marker)
					// Whatever TLS hides: handshakes and a header are all that there is room for.
					assert.Less(t, w.Network.Sent(host+":443"), seen.handshakes*8<<10, "bytes on the wire")
					if c.want == delivery.ClientCertificateNotRequested {
						assert.Zero(t, seen.plain.Len(), "not even a request line")
					}
					assert.NotContains(t, seen.plain.String(), marker, "no byte of the message was sent")
				})
			})
		}
	}
}
