package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
)

func TestImportPEM(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	root, issuing := receiversCA(t, now)
	chainPEM, keyPEM, err := issuing.Client(name)
	require.NoError(t, err)
	list := parsePEM(t, chainPEM)
	var reversed []byte
	for _, c := range []*x509.Certificate{list[1], list[0]} {
		reversed = append(reversed, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	combined := append(bytes.Clone(keyPEM), chainPEM...)
	for title, given := range map[string][2][]byte{
		"in order": {chainPEM, keyPEM}, "out of order": {reversed, keyPEM}, "one text": {combined, combined},
	} {
		r, err := identity.ImportPEM("default", given[0], given[1], vault, now)
		require.NoError(t, err, title)
		assert.Equal(t, string(chainPEM), r.ChainPEM(), title)
		assert.Equal(t, []string{name}, r.Profile.URIs)
		assert.Equal(t, identity.Imported, r.Origin)
		i, err := r.Open(vault, now)
		require.NoError(t, err)
		seen, err := shake(t, mtls.Static(i), root.CertificatePEM(), now)
		require.NoError(t, err, "the intermediate goes along")
		assert.True(t, seen.Equal(list[0]))
		again, err := identity.DecodeRecord(r.Key(), encoded(t, r))
		require.NoError(t, err)
		assert.Equal(t, r.String(), again.String())
	}
}

func TestImportRefusesInWords(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	_, otherKey := certified(t, other, now, nil)
	rsa1024 := weakRSA(t)
	for title, tc := range map[string]struct {
		key   any
		alter func(*x509.Certificate)
		with  []byte
		want  string
	}{
		"wrong key":     {good, nil, otherKey, "does not belong"},
		"expired":       {good, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }, nil, "expired on"},
		"not yet valid": {good, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }, nil, "not valid before"},
		"server only":   {good, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, nil, "lacks clientAuth"},
		"RSA 1024":      {rsa1024, nil, nil, "RSA key of 1024 bits"},
		"P-224":         {p224, nil, nil, "P-224"},
		"no key":        {good, nil, []byte("-----BEGIN NOTHING-----\n-----END NOTHING-----\n"), "does not belong there"},
	} {
		var certificatePEM, keyPEM []byte
		switch key := tc.key.(type) {
		case *ecdsa.PrivateKey:
			certificatePEM, keyPEM = certified(t, key, now, tc.alter)
		case *rsa.PrivateKey:
			certificatePEM, keyPEM = certified(t, key, now, tc.alter)
		}
		if tc.with != nil {
			keyPEM = tc.with
		}
		_, err := identity.ImportPEM("default", certificatePEM, keyPEM, vault, now)
		require.ErrorContains(t, err, tc.want, title)
		require.ErrorContains(t, err, `client identity "default" cannot be imported`, title)
		var refused *identity.RefusedError
		require.ErrorAs(t, err, &refused)
		assert.Len(t, refused.Problems, 1, title)
	}
	certificatePEM, _ := certified(t, p224, now, func(c *x509.Certificate) {
		c.NotAfter, c.ExtKeyUsage = now.Add(-time.Minute), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	_, err = identity.ImportPEM("N o", certificatePEM, otherKey, vault, now)
	for _, want := range []string{"is not a name", "does not belong", "expired on", "lacks clientAuth", "P-224"} {
		require.ErrorContains(t, err, want, "everything at once")
	}
	certificatePEM, keyPEM := certified(t, good, now, nil)
	_, err = identity.ImportPEM("default", certificatePEM, keyPEM, seal.Vault{}, now)
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)
}

// weakRSA is a key that Go would rather not make.
func weakRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	return key
}

func pkcs12File(tb testing.TB, encoder *pkcs12.Encoder, password string) (file []byte, root *authority.Authority) {
	tb.Helper()
	root, issuing := receiversCA(tb, time.Now())
	chainPEM, keyPEM, err := issuing.Client(name)
	require.NoError(tb, err)
	pair, err := tls.X509KeyPair(chainPEM, keyPEM)
	require.NoError(tb, err)
	list := parsePEM(tb, chainPEM)
	file, err = encoder.Encode(pair.PrivateKey, list[0], append(list[1:], root.Certificate()), password)
	require.NoError(tb, err)
	return file, root
}

func TestImportPKCS12(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	for title, encoder := range map[string]*pkcs12.Encoder{"modern": pkcs12.Modern, "3DES": pkcs12.LegacyDES, "RC2": pkcs12.LegacyRC2} {
		file, root := pkcs12File(t, encoder, "pässword")
		r, err := identity.ImportPKCS12("default", file, "pässword", vault, now)
		require.NoError(t, err, title)
		i, err := r.Open(vault, now)
		require.NoError(t, err)
		_, err = shake(t, mtls.Static(i), root.CertificatePEM(), now)
		require.NoError(t, err)

		_, err = identity.ImportPKCS12("N o", file, "another", vault, now)
		require.ErrorContains(t, err, "the password does not open", title)
		require.ErrorContains(t, err, "is not a name")
		assert.NotContains(t, err.Error(), "another")
		_, err = identity.ImportPKCS12("default", file[:len(file)/2], "pässword", vault, now)
		require.ErrorContains(t, err, "damaged", title)
	}
	_, err := identity.ImportPKCS12("default", []byte("-----BEGIN CERTIFICATE-----"), "", vault, now)
	require.ErrorContains(t, err, "is PEM")
	_, err = identity.ImportPKCS12("default", make([]byte, 2<<20), "", vault, now)
	require.ErrorContains(t, err, "larger than")
	store, err := pkcs12.Modern.EncodeTrustStore(parsePEM(t, []byte(newAuthority(t, "main", vault, now).CertificatePEM())), "")
	require.NoError(t, err)
	_, err = identity.ImportPKCS12("default", store, "", vault, now)
	require.ErrorContains(t, err, "does not hold one private key")

	// What is inside is judged like PEM.
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	certificatePEM, _ := certified(t, key, now, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	file, err := pkcs12.Modern.Encode(key, parsePEM(t, certificatePEM)[0], nil, "x")
	require.NoError(t, err)
	_, err = identity.ImportPKCS12("default", file, "x", vault, now)
	require.ErrorContains(t, err, "expired on")
}
