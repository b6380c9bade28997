package seal_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/seal"
)

func masterKey(tb testing.TB) seal.MasterKey {
	tb.Helper()
	m, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(tb, err)
	return m
}

func TestRoundTrip(t *testing.T) {
	master := masterKey(t)
	for _, secret := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("long "), 9999)} {
		sealed, err := master.Seal("identity.default", secret)
		require.NoError(t, err)
		assert.NotContains(t, string(sealed), "\n", "one line")
		opened, err := master.Open("identity.default", sealed)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(secret, opened))
		again, err := master.Seal("identity.default", secret)
		require.NoError(t, err)
		assert.NotEqual(t, sealed, again, "a fresh nonce every time")
	}
}

func TestSealRefuses(t *testing.T) {
	_, err := seal.MasterKey{}.Seal("x", nil)
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)
	_, err = masterKey(t).Seal("", nil)
	require.ErrorIs(t, err, seal.ErrNoContext)
	sealed, err := masterKey(t).Seal("x", nil)
	require.NoError(t, err)
	_, err = seal.MasterKey{}.Open("x", sealed)
	assert.ErrorIs(t, err, seal.ErrInvalidMasterKey)
}

func TestOpenRefuses(t *testing.T) {
	master, other := masterKey(t), masterKey(t)
	sealed, err := master.Seal("identity.a", []byte("correct horse"))
	require.NoError(t, err)
	change := func(field string, f func(any) any) []byte {
		var m map[string]any
		require.NoError(t, json.Unmarshal(sealed, &m))
		m[field] = f(m[field])
		out, err := json.Marshal(m)
		require.NoError(t, err)
		return out
	}
	flip := func(v any) any {
		raw, err := base64.StdEncoding.DecodeString(v.(string))
		require.NoError(t, err)
		raw[len(raw)-1] ^= 1
		return base64.StdEncoding.EncodeToString(raw)
	}
	cut := func(v any) any { return v.(string)[4:] }
	for _, c := range []struct {
		name    string
		master  seal.MasterKey
		context string
		sealed  []byte
		want    error
	}{
		{"another place", master, "identity.b", sealed, seal.ErrCorrupt},
		{"another master key", other, "identity.a", sealed, seal.ErrWrongMasterKey},
		{"another master key that claims to be ours", other, "identity.a", change("kid", func(any) any { return other.ID() }), seal.ErrCorrupt},
		{"kid not an id", master, "identity.a", change("kid", func(any) any { return "\n" }), seal.ErrCorrupt},
		{"kid long", master, "identity.a", change("kid", func(any) any { return strings.Repeat("x", 9999) }), seal.ErrCorrupt},
		{"bit flipped", master, "identity.a", change("ciphertext", flip), seal.ErrCorrupt},
		{"ciphertext cut", master, "identity.a", change("ciphertext", cut), seal.ErrCorrupt},
		{"nonce flipped", master, "identity.a", change("nonce", flip), seal.ErrCorrupt},
		{"nonce cut", master, "identity.a", change("nonce", cut), seal.ErrCorrupt},
		{"newer version", master, "identity.a", change("v", func(any) any { return 2 }), seal.ErrCorrupt},
		{"unknown field", master, "identity.a", change("alg", func(any) any { return "none" }), seal.ErrCorrupt},
		{"something behind", master, "identity.a", append(bytes.Clone(sealed), "{}"...), seal.ErrCorrupt},
		{"truncated", master, "identity.a", sealed[:len(sealed)/2], seal.ErrCorrupt},
		{"empty", master, "identity.a", nil, seal.ErrCorrupt},
		{"huge", master, "identity.a", bytes.Repeat([]byte(" "), 1<<20), seal.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			opened, err := c.master.Open(c.context, c.sealed)
			require.ErrorIs(t, err, c.want)
			assert.Empty(t, opened)
			assert.Less(t, len(err.Error()), 400)
		})
	}
	_, err = master.Open("identity.a", sealed)
	require.NoError(t, err, "and the untouched one still opens")
}

func TestVaultRotatesMasterKeys(t *testing.T) {
	old, current := masterKey(t), masterKey(t)
	sealed, err := seal.Vault{Current: old}.Seal("e", []byte("secret"))
	require.NoError(t, err)
	vault := seal.Vault{Current: current, Previous: []seal.MasterKey{{}, old}}
	stale, err := vault.Stale(sealed)
	require.NoError(t, err)
	assert.True(t, stale)
	opened, err := vault.Open("e", sealed)
	require.NoError(t, err)
	resealed, err := vault.Seal("e", opened)
	require.NoError(t, err)
	stale, err = vault.Stale(resealed)
	require.NoError(t, err)
	assert.False(t, stale)

	final := seal.Vault{Current: current}
	opened, err = final.Open("e", resealed)
	require.NoError(t, err)
	assert.Equal(t, "secret", string(opened))
	_, err = final.Open("e", sealed)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	require.ErrorContains(t, err, old.ID())
	_, err = vault.Open("f", sealed)
	require.ErrorIs(t, err, seal.ErrCorrupt)
	_, err = vault.Stale(nil)
	require.ErrorIs(t, err, seal.ErrCorrupt)
	_, err = seal.Vault{}.Open("e", sealed)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	_, err = seal.Vault{}.Seal("e", nil)
	assert.ErrorIs(t, err, seal.ErrInvalidMasterKey)
}

func FuzzOpen(f *testing.F) {
	master, err := seal.ParseMasterKey(strings.Repeat("0123456789abcdef", 4))
	require.NoError(f, err)
	sealed, err := master.Seal("identity.a", []byte("secret"))
	require.NoError(f, err)
	f.Add("identity.a", sealed)
	f.Add("identity.b", sealed)
	f.Add("", []byte(`{"v":1,"kid":"","nonce":"","ciphertext":""}`))
	f.Add("x", []byte(`{"v":1}{}`))
	f.Fuzz(func(t *testing.T, context string, data []byte) {
		opened, err := master.Open(context, data)
		if err == nil && (context != "identity.a" || string(opened) != "secret") {
			t.Fatalf("opened for %q: %s", context, data)
		}
	})
}
