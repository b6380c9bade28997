package signature_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

func encode(prefix string, n int) string {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(0xf0 ^ i*7)
	}
	return prefix + base64.StdEncoding.EncodeToString(raw)
}

func TestParseSecretAccepts(t *testing.T) {
	for _, c := range []struct{ scheme, secret string }{
		{signature.V1, encode("whsec_", 24)},
		{signature.V1, encode("whsec_", 25)},
		{signature.V1, encode("whsec_", 64)},
		{signature.V1a, encode("whsk_", 32)},
		{signature.V1a, vectorPrivate},
	} {
		key, err := signature.ParseSecret(c.scheme, c.secret)
		require.NoError(t, err, c.secret)
		assert.Equal(t, signature.Next, key.State, "an imported key does not sign until somebody says so")
		assert.NotEmpty(t, key.ID)
		again, err := signature.ParseSecret(c.scheme, key.Reveal())
		require.NoError(t, err)
		assert.Equal(t, key.Reveal(), again.Reveal())
		assert.NotEqual(t, key.ID, again.ID)
	}
}

func TestParseSecretRefusesInWords(t *testing.T) {
	mixed := "whsk_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 64))
	for _, c := range []struct{ name, scheme, secret, words string }{
		{"empty", "v1", "", "empty"},
		{"no prefix", "v1", encode("", 24), "should start with whsec_"},
		{"v1a private key for v1", "v1", vectorPrivate, "belongs to scheme v1a"},
		{"v1 secret for v1a", "v1a", vectorSecret, "belongs to scheme v1"},
		{"public key", "v1a", vectorPublic, "cannot sign"},
		{"Stripe API key", "v1", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "Stripe API key"},
		{"upper case prefix", "v1", "WHSEC_" + vectorSecret[6:], "should start with whsec_"},
		{"too short", "v1", encode("whsec_", 23), "holds 23 bytes"},
		{"too long", "v1", encode("whsec_", 65), "holds 65 bytes"},
		{"nothing behind the prefix", "v1", "whsec_", "holds 0 bytes"},
		{"base64url", "v1", "whsec_-_" + strings.Repeat("a", 30), "URL form"},
		{"line break at the end", "v1", vectorSecret + "\n", "white space at character 38"},
		{"space in front", "v1", " " + vectorSecret, "white space at character 0"},
		{"no padding", "v1", strings.TrimRight(encode("whsec_", 32), "="), "groups of four"},
		{"stray bits at the end", "v1", encode("whsec_", 32)[:48] + "B=", "not standard base64"},
		{"not base64", "v1", "whsec_" + strings.Repeat("!", 32), "not standard base64"},
		{"Stripe test secret", "v1", "whsec_test_secret", "Stripe"},
		{"Stripe CLI secret", "v1", "whsec_" + strings.Repeat("0f", 32), "hexadecimal"},
		{"v1a 31 bytes", "v1a", encode("whsk_", 31), "holds 31 bytes"},
		{"v1a 33 bytes", "v1a", encode("whsk_", 33), "holds 33 bytes"},
		{"v1a halves of two keys", "v1a", mixed, "halves do not belong together"},
		{"very long", "v1", "whsec_" + strings.Repeat("A", 5000), "no key is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := signature.ParseSecret(c.scheme, c.secret)
			require.ErrorIs(t, err, signature.ErrInvalidKey)
			require.ErrorContains(t, err, c.words)
			if tail := strings.TrimSpace(c.secret); len(tail) > 20 {
				assert.NotContains(t, err.Error(), tail[len(tail)-8:], "the secret must not stand in the error")
			}
		})
	}
	_, err := signature.ParseSecret("v9", vectorSecret)
	assert.ErrorIs(t, err, signature.ErrUnknownScheme)
}

func TestLookalike(t *testing.T) {
	assert.Contains(t, signature.Lookalike("v1", vectorSecret), "Stripe", "even the official vector has that shape")
	for _, secret := range []string{encode("whsec_", 32), "whsec_" + strings.Repeat("+a", 16), vectorPrivate, ""} {
		assert.Empty(t, signature.Lookalike("v1", secret))
	}
	assert.Empty(t, signature.Lookalike("v1a", vectorSecret))
}

func TestParsePublicRefuses(t *testing.T) {
	for _, text := range []string{"", vectorPrivate, vectorSecret, encode("whpk_", 31), encode("whpk_", 33), vectorPublic + " "} {
		_, err := signature.ParsePublic(text)
		assert.ErrorIs(t, err, signature.ErrInvalidKey, text)
	}
}

func TestGenerateKey(t *testing.T) {
	now := time.Unix(vectorUnix, 0)
	for scheme, prefix := range map[string]string{"v1": "whsec_", "v1a": "whsk_"} {
		source := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), 2)
		key, err := signature.GenerateKey(scheme, now, bytes.NewReader(source))
		require.NoError(t, err)
		same, err := signature.GenerateKey(scheme, now, bytes.NewReader(source))
		require.NoError(t, err)
		assert.Equal(t, key.Reveal(), same.Reveal(), "the reader is the only source")
		assert.Equal(t, key.ID, same.ID)
		assert.True(t, strings.HasPrefix(key.Reveal(), prefix))
		assert.Equal(t, now, key.Created)
		assert.Equal(t, signature.Next, key.State)
		assert.Equal(t, scheme == "v1a", key.Public() != "")
		for _, enough := range []int{0, 31, 40} { // no secret, half a secret, no id
			_, err = signature.GenerateKey(scheme, now, bytes.NewReader(source[:enough]))
			require.Error(t, err)
		}
		broken := errors.New("no entropy")
		_, err = signature.GenerateKey(scheme, now, iotest.ErrReader(broken))
		require.ErrorIs(t, err, broken)
	}
	_, err := signature.GenerateKey("v2", now, nil)
	assert.ErrorIs(t, err, signature.ErrUnknownScheme)
}
