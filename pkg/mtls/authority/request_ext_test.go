package authority_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

func signingRequest(tb testing.TB) (text []byte, key *ecdsa.PrivateKey) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(tb, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "asked for"}, DNSNames: []string{"asked.test"},
	}, key)
	require.NoError(tb, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), key
}

func TestAnswerTakesNothingButTheKey(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	request, key := signingRequest(t)
	for _, text := range [][]byte{request, bytes.Replace(request, []byte("CERTIFICATE REQUEST"), []byte("NEW CERTIFICATE REQUEST"), 2)} {
		certificatePEM, err := root.Answer(text, authority.Leaf{CommonName: "given", Client: true})
		require.NoError(t, err)
		chain := parseChain(t, certificatePEM)
		require.NoError(t, verify(root, chain, "", time.Now(), x509.ExtKeyUsageClientAuth))
		assert.True(t, key.PublicKey.Equal(chain[0].PublicKey))
		assert.Equal(t, "given", chain[0].Subject.CommonName)
		assert.Empty(t, chain[0].DNSNames)
	}
	_, err := root.Answer(request, authority.Leaf{})
	require.ErrorContains(t, err, "Client, Server or both")
}

func TestAnswerRefuses(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	request, _ := signingRequest(t)
	block, _ := pem.Decode(request)
	forged := bytes.Clone(block.Bytes)
	at := bytes.Index(forged, []byte("asked for"))
	require.Positive(t, at)
	forged[at] = 'A'
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":     {nil, "not PEM"},
		"certificate": {root.CertificatePEM(), `type "CERTIFICATE"`},
		"two":         {append(bytes.Clone(request), request...), "something follows"},
		"damaged":     {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: block.Bytes[:40]}), "cannot be read"},
		"forged":      {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged}), "not signed with its own key"},
	} {
		_, err := root.Answer(tc.text, authority.Leaf{CommonName: "x", Client: true})
		require.ErrorContains(t, err, tc.want, name)
	}
}

func TestRootLifetime(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, authority.WithRootLifetime(time.Hour))
	assert.WithinDuration(t, time.Now().Add(time.Hour), root.Certificate().NotAfter, time.Minute)
	_, err := authority.New("x", authority.WithRootLifetime(0))
	require.ErrorContains(t, err, "cannot be valid for 0s")
}

func FuzzParseRequest(f *testing.F) {
	request, _ := signingRequest(f)
	f.Add(request)
	f.Add(request[:len(request)/2])
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		request, err := authority.ParseRequest(text)
		if (request == nil) == (err == nil) {
			t.Fatalf("want either a request or an error, got %v and %v", request, err)
		}
		if err == nil && request.PublicKey == nil {
			t.Fatal("a request without a key was accepted")
		}
	})
}
