package receiver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hugeKey is an RSA key of so many bits that nobody can sign with, but that a verifier would compute with.
func hugeKey(t *testing.T, bits int) *rsa.PublicKey {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	require.NoError(t, err)
	return &rsa.PublicKey{N: n.SetBit(n, bits-1, 1).SetBit(n, 0, 1), E: 1<<31 - 1}
}

// TestAProxyTellsNoHugeKeys: whoever speaks to a proxy may hand over what he has made himself, and nobody has vouched for
// it yet when it is computed with. crypto/tls has the same bound.
func TestAProxyTellsNoHugeKeys(t *testing.T) {
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issue := func(serial int64, name, by string, key crypto.PublicKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, &x509.Certificate{SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: by}}, key, ca)
		require.NoError(t, err)
		return der
	}
	small := ca.Public()
	for _, c := range []struct {
		name        string
		leaf, above crypto.PublicKey
		refused     bool
	}{
		{"as large as crypto/tls takes", hugeKey(t, 8192), hugeKey(t, 8192), false},
		{"a larger one of the client", hugeKey(t, 8193), small, true},
		{"a larger one above it", small, hugeKey(t, 8193), true},
	} {
		told := &terminator{
			Terminator: Terminator{Form: RFC9440, Hops: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Roots: x509.NewCertPool()}, field: "Client-Cert",
		}
		r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
		r.RemoteAddr = "10.1.1.1:1"
		text := func(der []byte) string { return ":" + base64.StdEncoding.EncodeToString(der) + ":" }
		r.Header.Set("Client-Cert", text(issue(1, "client", "above", c.leaf)))
		r.Header.Set("Client-Cert-Chain", text(issue(2, "above", "root", c.above)))
		_, err := told.client(r, time.Now())
		require.Error(t, err, c.name, "none of them is trusted")
		if c.refused {
			assert.ErrorIs(t, err, errTold, "%s: it is not even looked at", c.name)
		} else {
			assert.NotErrorIs(t, err, errTold, "%s: it is judged as any other", c.name)
		}
	}
}
