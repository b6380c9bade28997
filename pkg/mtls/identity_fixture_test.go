package mtls_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// pair is a certificate chain and its key in PEM.
type pair struct{ certificate, key []byte }

func newTestAuthority(tb testing.TB, name string) *authority.Authority {
	tb.Helper()
	a, err := authority.New(name)
	require.NoError(tb, err)
	return a
}

func issuePair(tb testing.TB, a *authority.Authority, leaf authority.Leaf) pair {
	tb.Helper()
	certificate, key, err := a.Issue(leaf)
	require.NoError(tb, err)
	return pair{certificate, key}
}

func clientPair(tb testing.TB, a *authority.Authority, name string) pair {
	tb.Helper()
	return issuePair(tb, a, authority.Leaf{CommonName: name, Client: true})
}

func (p pair) identity(tb testing.TB, name string) *mtls.Identity {
	tb.Helper()
	i, err := mtls.NewIdentity(name, p.certificate, p.key, time.Now())
	require.NoError(tb, err)
	return i
}

// certificates parses every certificate of a PEM text.
func certificates(tb testing.TB, text []byte) (list []*x509.Certificate) {
	tb.Helper()
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return list
		}
		c, err := x509.ParseCertificate(block.Bytes)
		require.NoError(tb, err)
		list = append(list, c)
	}
}

func toPEM(list ...*x509.Certificate) (text []byte) {
	for _, c := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

func keyToPEM(tb testing.TB, key any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// selfSigned makes what no authority of ours would: a client certificate on any
// kind of key, changed at will.
func selfSigned(tb testing.TB, key crypto.Signer, alter func(*x509.Certificate)) pair {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7),
		Subject:      pkix.Name{CommonName: "self"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if alter != nil {
		alter(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)
	return pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyToPEM(tb, key)}
}

func mustParse(tb testing.TB, der []byte) *x509.Certificate {
	tb.Helper()
	c, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	return c
}
