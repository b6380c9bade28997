package identity_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
)

const (
	day  = 24 * time.Hour
	name = "spiffe://example.org/handfast"
)

func newVault(tb testing.TB) seal.Vault {
	tb.Helper()
	m, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(tb, err)
	return seal.Vault{Current: m}
}

func profile() identity.Profile { return identity.Profile{URIs: []string{name}} }

func newAuthority(tb testing.TB, name string, vault seal.Vault, now time.Time) identity.Authority {
	tb.Helper()
	a, err := identity.NewAuthority(name, "", 0, vault, now)
	require.NoError(tb, err)
	return a
}

func created(tb testing.TB, name string, from identity.Authority, vault seal.Vault, now time.Time) identity.Record {
	tb.Helper()
	r, err := identity.Create(name, from, profile(), vault, now)
	require.NoError(tb, err)
	return r
}

func encoded(tb testing.TB, entry interface{ Encode() ([]byte, error) }) []byte {
	tb.Helper()
	value, err := entry.Encode()
	require.NoError(tb, err)
	return value
}

// receiversCA is a CA that is not ours.
func receiversCA(tb testing.TB, now time.Time) (root, intermediate *authority.Authority) {
	tb.Helper()
	root, err := authority.New("receiver's root", authority.WithClock(func() time.Time { return now }))
	require.NoError(tb, err)
	intermediate, err = root.Intermediate("receiver's issuing CA")
	require.NoError(tb, err)
	return root, intermediate
}

// answer signs the request that waits, with the names that it asks for.
func answer(tb testing.TB, ca *authority.Authority, requestPEM string, alter func(*authority.Leaf)) []byte {
	tb.Helper()
	request, err := authority.ParseRequest([]byte(requestPEM))
	require.NoError(tb, err)
	leaf := authority.Leaf{CommonName: request.Subject.CommonName, URIs: request.URIs, DNSNames: request.DNSNames, Client: true}
	if alter != nil {
		alter(&leaf)
	}
	text, err := ca.Answer([]byte(requestPEM), leaf)
	require.NoError(tb, err)
	return text
}

func parsePEM(tb testing.TB, text []byte) (list []*x509.Certificate) {
	tb.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		require.NoError(tb, err)
		list = append(list, c)
	}
	return list
}

// certified makes a client certificate on any key, self-signed and changed at will.
func certified(tb testing.TB, key crypto.Signer, now time.Time, alter func(*x509.Certificate)) (certificatePEM, keyPEM []byte) {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "somebody"}, DNSNames: []string{"client.test"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * day),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if alter != nil {
		alter(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// shake does a whole mutual handshake with a receiver that trusts the roots, and
// returns the certificate that the receiver has seen.
func shake(tb testing.TB, source mtls.Source, roots []byte, now time.Time) (*x509.Certificate, error) {
	tb.Helper()
	server, err := authority.New("server CA", authority.WithClock(func() time.Time { return now }))
	require.NoError(tb, err)
	certificatePEM, keyPEM, err := server.Server("receiver.test")
	require.NoError(tb, err)
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(tb, err)
	clientRoots, serverRoots := x509.NewCertPool(), x509.NewCertPool()
	require.True(tb, clientRoots.AppendCertsFromPEM(roots))
	serverRoots.AddCert(server.Certificate())
	clock := func() time.Time { return now }

	near, far := net.Pipe()
	defer near.Close()
	receiver := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clientRoots, Time: clock, MinVersion: tls.VersionTLS13})
	type seen struct {
		certificate *x509.Certificate
		err         error
	}
	result := make(chan seen, 1)
	go func() {
		defer far.Close()
		if err := receiver.HandshakeContext(context.Background()); err != nil {
			result <- seen{err: err}
			return
		}
		result <- seen{certificate: receiver.ConnectionState().PeerCertificates[0]}
	}()
	client := tls.Client(near, &tls.Config{
		ServerName: "receiver.test", RootCAs: serverRoots, Time: clock, MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			i, err := source.Identity()
			if err != nil {
				return nil, err
			}
			c := i.Certificate()
			return &c, nil
		},
	})
	if err := client.HandshakeContext(context.Background()); err != nil {
		near.Close()
		<-result
		return nil, err
	}
	go func() { _, _ = near.Read(make([]byte, 1<<12)) }() // the session ticket
	s := <-result
	return s.certificate, s.err
}

// safeBuffer takes a log from many goroutines.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
