package signature_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// pkcs8 writes a key as ParseSecret reads it.
func pkcs8(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	return base64.StdEncoding.EncodeToString(der)
}

func block(kind, text string) string {
	der, _ := base64.StdEncoding.DecodeString(text)
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestEverySchemeKeepsItsKeys makes, seals, opens, reveals and reads a key of every scheme.
func TestEverySchemeKeepsItsKeys(t *testing.T) {
	now := time.Unix(vectorUnix, 0)
	for _, scheme := range signature.Schemes() {
		t.Run(scheme, func(t *testing.T) {
			source := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), 2)
			key, err := signature.GenerateKey(scheme, now, bytes.NewReader(source))
			require.NoError(t, err)
			same, err := signature.GenerateKey(scheme, now, bytes.NewReader(source))
			require.NoError(t, err)
			assert.Equal(t, key.Reveal(), same.Reveal(), "the reader is the only source")
			_, err = signature.GenerateKey(scheme, now, bytes.NewReader(source[:31]))
			require.Error(t, err)
			again, err := signature.ParseSecret(scheme, key.Reveal())
			require.NoError(t, err)
			assert.Equal(t, key.Reveal(), again.Reveal())
			assert.Equal(t, key.Public(), again.Public())
			assert.Equal(t, key.Public() == "", key.PublicKey() == nil)

			key = generate(t, "k1", scheme, signature.Active)
			master := masterKey(t)
			sealed, err := ringOf(t, key).Seal(master, "acme/orders")
			require.NoError(t, err)
			ring, err := signature.Open(master, "acme/orders", sealed)
			require.NoError(t, err)
			assert.Equal(t, key.Reveal(), ring.Keys()[0].Reveal())

			secret := key.Reveal()
			for _, value := range []any{key, &key, ring, verifierOf(t, key), hidden{key: key, pointer: &key, ring: ring, verifier: verifierOf(t, key)}} {
				for name, text := range prints(t, value) {
					for _, part := range []string{secret[len(secret)-16:], hex.EncodeToString([]byte(secret)[:8]), strings.Trim(fmt.Sprintf("%d", []byte(secret)[:8]), "[]")} {
						assert.NotContains(t, text, part, "%T by %s", value, name)
					}
				}
			}
		})
	}
}

func TestSecretsOfProviders(t *testing.T) {
	for _, c := range []struct{ scheme, secret, words string }{
		{"github", "It's a Secret to Everybody", ""},
		{"twilio", "12345", ""},
		{"slack", "8f742231b10e8888abcd99yyyzzz85a5", ""},
		{"template", "pässword", ""},
		{"stripe", "whsec_test_secret", ""},
		{"github", "", "empty"},
		{"github", "secret\n", "line break"},
		{"github", " secret", "white space"},
		{"github", "sec\nret", "line break"},
		{"github", "sec\x00ret", "control character"},
		{"github", "\xff\xfe secret", "UTF-8"},
		{"github", strings.Repeat("a", 5000), "no secret is"},
		{"shopify", vectorPrivate, "private key of scheme v1a"},
		{"pagerduty", vectorPublic, "public key"},
		{"docusign", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "one line"},
		{"stripe", "test_secret", "should start with whsec_"},
		{"stripe", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "Stripe API key"},
		{"stripe", "whsec_", "whsec_"},
		{"v1", "It's a Secret to Everybody", "white space"},
		{"rfc9421-hmac-sha256", vectorSecret, "without any prefix"},
		{"rfc9421-hmac-sha256", vectorPrivate, "another form"},
		{"rfc9421-hmac-sha256", encode("", 24), ""},
		{"rfc9421-hmac-sha256", encode("", 128), ""},
		{"rfc9421-hmac-sha256", encode("", 23), "holds 23 bytes"},
		{"rfc9421-hmac-sha256", encode("", 129), "holds 129 bytes"},
		{"rfc9421-hmac-sha256", strings.Repeat("0f", 32), "hexadecimal"},
		{"rfc9421-hmac-sha256", "not base64!", "white space"},
		{"rfc9421-hmac-sha256", "nöt", "not standard base64"},
	} {
		key, err := signature.ParseSecret(c.scheme, c.secret)
		if c.words == "" {
			require.NoError(t, err, c.secret)
			assert.Equal(t, c.secret, key.Reveal())
			continue
		}
		require.ErrorIs(t, err, signature.ErrInvalidKey, c.secret)
		require.ErrorContains(t, err, c.words)
		if len(c.secret) > 20 {
			assert.NotContains(t, err.Error(), c.secret[12:20], "the secret must not stand in the error")
		}
	}
}

func TestPairsRefuseOtherKinds(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	good := pkcs8(t, p256)
	for _, text := range []string{good, block("PRIVATE KEY", good), "\n" + block("PRIVATE KEY", good)} {
		key, err := signature.ParseSecret(signature.HTTPECDSA, text)
		require.NoError(t, err)
		assert.Equal(t, good, key.Reveal(), "revealed on one line, whichever form was read")
	}
	for what, c := range map[string]struct{ scheme, secret, words string }{
		"ECDSA for Ed25519":  {signature.HTTPEd25519, good, "belongs to scheme rfc9421-ecdsa"},
		"Ed25519 for ECDSA":  {signature.HTTPECDSA, profileKey, "belongs to scheme rfc9421-ed25519"},
		"another curve":      {signature.HTTPECDSA, pkcs8(t, p384), "P-384"},
		"RSA":                {signature.HTTPECDSA, pkcs8(t, rsaKey), "another kind"},
		"a public key":       {signature.HTTPEd25519, profilePublic, "no PKCS #8"},
		"a public PEM":       {signature.HTTPEd25519, block("PUBLIC KEY", profilePublic), "another kind"},
		"encrypted":          {signature.HTTPEd25519, block("ENCRYPTED PRIVATE KEY", profileKey), "passphrase"},
		"two blocks":         {signature.HTTPEd25519, block("PRIVATE KEY", profileKey) + block("PRIVATE KEY", profileKey), "more than one"},
		"cut PEM":            {signature.HTTPEd25519, block("PRIVATE KEY", profileKey)[:60], "cut or changed"},
		"empty":              {signature.HTTPEd25519, "", "empty"},
		"very long":          {signature.HTTPEd25519, strings.Repeat("A", 5000), "no key is"},
		"a v1a key":          {signature.HTTPEd25519, vectorPrivate, "kept apart"},
		"line breaks in DER": {signature.HTTPEd25519, profileKey[:20] + "\n" + profileKey[20:], "white space"},
		"garbage":            {signature.HTTPECDSA, "AAAA", "no PKCS #8"},
	} {
		_, err := signature.ParseSecret(c.scheme, c.secret)
		require.ErrorIs(t, err, signature.ErrInvalidKey, what)
		require.ErrorContains(t, err, c.words, what)
	}
	for _, public := range []any{&p384.PublicKey, &rsaKey.PublicKey} {
		der, err := x509.MarshalPKIXPublicKey(public)
		require.NoError(t, err)
		for _, scheme := range []string{signature.HTTPECDSA, signature.HTTPEd25519} {
			_, err = signature.ParsePublicKey(scheme, base64.StdEncoding.EncodeToString(der))
			require.ErrorIs(t, err, signature.ErrInvalidKey)
		}
	}
	_, err = signature.ParsePublicKey(signature.HTTPEd25519, profileKey)
	require.ErrorContains(t, err, "SubjectPublicKeyInfo")
	_, err = signature.ParsePublicKey(signature.HTTPEd25519, block("PUBLIC KEY", profilePublic))
	require.NoError(t, err)
}

func TestLookalikes(t *testing.T) {
	assert.Contains(t, signature.Lookalike("stripe", vectorSecret), "scheme v1", "even the official vector has Stripe's shape")
	assert.Contains(t, signature.Lookalike("stripe", encode("whsec_", 32)), "scheme v1")
	assert.Empty(t, signature.Lookalike("stripe", "whsec_test_secret"))
	assert.Empty(t, signature.Lookalike("stripe", "whsec_"+strings.Repeat("0f", 32)), "the form of Stripe's command line, and of what we make")
	for _, scheme := range []string{"docusign", "pagerduty", "github", "slack", "shopify", "twilio", "template"} {
		assert.Contains(t, signature.Lookalike(scheme, vectorSecret), "the whole text is the key", scheme)
		assert.Empty(t, signature.Lookalike(scheme, "secret"), scheme)
	}
	assert.Empty(t, signature.Lookalike("v9", vectorSecret))
}
