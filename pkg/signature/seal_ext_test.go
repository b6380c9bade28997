package signature_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

func masterKey(tb testing.TB) signature.MasterKey {
	tb.Helper()
	m, err := signature.GenerateMasterKey(rand.Reader)
	require.NoError(tb, err)
	return m
}

func TestSealRoundTrip(t *testing.T) {
	master := masterKey(t)
	a := generate(t, "a", "v1", signature.Retiring)
	a.NotAfter = time.Unix(vectorUnix, 0).UTC()
	ring := ringOf(t, a, generate(t, "b", "v1a", signature.Active), parse(t, "c", "v1", vectorSecret))
	sealed, err := ring.Seal(master, "acme.orders")
	require.NoError(t, err)
	assert.NotContains(t, string(sealed), "\n")
	var envelope map[string]any
	require.NoError(t, json.Unmarshal(sealed, &envelope))
	assert.EqualValues(t, 1, envelope["v"])
	assert.Equal(t, master.ID(), envelope["kid"])
	assert.Len(t, envelope, 4)

	opened, err := signature.Open(master, "acme.orders", sealed)
	require.NoError(t, err)
	want, got := ring.Keys(), opened.Keys()
	require.Len(t, got, len(want))
	for i := range want {
		assert.Equal(t, want[i].Reveal(), got[i].Reveal())
		assert.Equal(t, want[i].ID, got[i].ID)
		assert.Equal(t, want[i].Scheme, got[i].Scheme)
		assert.Equal(t, want[i].State, got[i].State)
		assert.True(t, want[i].Created.Equal(got[i].Created))
		assert.True(t, want[i].NotAfter.Equal(got[i].NotAfter))
	}
	again, err := ring.Seal(master, "acme.orders")
	require.NoError(t, err)
	assert.NotEqual(t, sealed, again, "a fresh nonce every time")
}

func TestSealRefuses(t *testing.T) {
	_, err := signature.Ring{}.Seal(signature.MasterKey{}, "x")
	require.ErrorIs(t, err, signature.ErrInvalidMasterKey)
	_, err = signature.Ring{}.Seal(masterKey(t), "")
	require.ErrorContains(t, err, "context is empty")
	sealed, err := signature.Ring{}.Seal(masterKey(t), "x")
	require.NoError(t, err)
	_, err = signature.Open(signature.MasterKey{}, "x", sealed)
	assert.ErrorIs(t, err, signature.ErrInvalidMasterKey)
}

func TestOpenRefuses(t *testing.T) {
	master, other := masterKey(t), masterKey(t)
	sealed, err := ringOf(t, generate(t, "a", "v1", signature.Active)).Seal(master, "acme.orders")
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
		master  signature.MasterKey
		context string
		sealed  []byte
		want    error
	}{
		{"another endpoint", master, "acme.invoices", sealed, signature.ErrCorrupt},
		{"another master key", other, "acme.orders", sealed, signature.ErrWrongMasterKey},
		{"another master key that claims to be ours", other, "acme.orders", change("kid", func(any) any { return other.ID() }), signature.ErrCorrupt},
		{"kid changed", master, "acme.orders", change("kid", func(any) any { return "0011223344556677" }), signature.ErrWrongMasterKey},
		{"kid not an id", master, "acme.orders", change("kid", func(any) any { return strings.Repeat("x", 9999) }), signature.ErrCorrupt},
		{"bit flipped", master, "acme.orders", change("ciphertext", flip), signature.ErrCorrupt},
		{"ciphertext cut", master, "acme.orders", change("ciphertext", cut), signature.ErrCorrupt},
		{"ciphertext gone", master, "acme.orders", change("ciphertext", func(any) any { return "" }), signature.ErrCorrupt},
		{"nonce flipped", master, "acme.orders", change("nonce", flip), signature.ErrCorrupt},
		{"nonce cut", master, "acme.orders", change("nonce", cut), signature.ErrCorrupt},
		{"newer version", master, "acme.orders", change("v", func(any) any { return 2 }), signature.ErrCorrupt},
		{"unknown field", master, "acme.orders", change("alg", func(any) any { return "none" }), signature.ErrCorrupt},
		{"something behind", master, "acme.orders", append(bytes.Clone(sealed), "{}"...), signature.ErrCorrupt},
		{"truncated", master, "acme.orders", sealed[:len(sealed)/2], signature.ErrCorrupt},
		{"empty", master, "acme.orders", nil, signature.ErrCorrupt},
		{"huge", master, "acme.orders", bytes.Repeat([]byte(" "), 1<<20), signature.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			ring, err := signature.Open(c.master, c.context, c.sealed)
			require.ErrorIs(t, err, c.want)
			assert.Empty(t, ring.Keys())
			assert.Less(t, len(err.Error()), 400)
		})
	}
	_, err = signature.Open(master, "acme.orders", sealed)
	require.NoError(t, err, "and the untouched one still opens")
}

func TestVaultRotatesMasterKeys(t *testing.T) {
	old, current := masterKey(t), masterKey(t)
	ring := ringOf(t, generate(t, "a", "v1", signature.Active))
	sealed, err := signature.Vault{Current: old}.Seal(ring, "e")
	require.NoError(t, err)
	vault := signature.Vault{Current: current, Previous: []signature.MasterKey{{}, old}}

	stale, err := vault.Stale(sealed)
	require.NoError(t, err)
	assert.True(t, stale)
	opened, err := vault.Open("e", sealed)
	require.NoError(t, err)
	resealed, err := vault.Seal(opened, "e")
	require.NoError(t, err)
	stale, err = vault.Stale(resealed)
	require.NoError(t, err)
	assert.False(t, stale)

	final := signature.Vault{Current: current}
	_, err = final.Open("e", resealed)
	require.NoError(t, err)
	_, err = final.Open("e", sealed)
	require.ErrorIs(t, err, signature.ErrWrongMasterKey)
	require.ErrorContains(t, err, old.ID())
	_, err = vault.Open("f", sealed)
	require.ErrorIs(t, err, signature.ErrCorrupt)
	_, err = vault.Open("e", []byte("nonsense"))
	require.ErrorIs(t, err, signature.ErrCorrupt)
	_, err = vault.Stale(nil)
	require.ErrorIs(t, err, signature.ErrCorrupt)
	_, err = signature.Vault{}.Open("e", sealed)
	require.ErrorIs(t, err, signature.ErrWrongMasterKey)
	_, err = signature.Vault{}.Seal(ring, "e")
	assert.ErrorIs(t, err, signature.ErrInvalidMasterKey)
}

func TestParseMasterKey(t *testing.T) {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = byte(0xff - i*5)
	}
	want, err := signature.ParseMasterKey(hex.EncodeToString(raw))
	require.NoError(t, err)
	assert.Len(t, want.ID(), 16)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		strings.ToUpper(hex.EncodeToString(raw)), "  " + base64.StdEncoding.EncodeToString(raw) + "\n", want.Reveal(),
	} {
		got, err := signature.ParseMasterKey(text)
		require.NoError(t, err, text)
		assert.Equal(t, want.ID(), got.ID())
		assert.Equal(t, want.Reveal(), got.Reveal())
	}
	for name, text := range map[string]string{
		"empty": " ", "31 bytes": hex.EncodeToString(raw[:31]), "33 bytes": base64.StdEncoding.EncodeToString(append(bytes.Clone(raw), 1)),
		"zeros": strings.Repeat("0", 64), "words": "correct horse battery staple correct horse b", "two lines": hex.EncodeToString(raw[:16]) + "\n" + hex.EncodeToString(raw[16:]),
	} {
		_, err := signature.ParseMasterKey(text)
		require.ErrorIs(t, err, signature.ErrInvalidMasterKey, name)
		if strings.TrimSpace(text) != "" {
			assert.NotContains(t, err.Error(), text, name)
		}
	}
	_, err = signature.GenerateMasterKey(bytes.NewReader(raw[:31]))
	assert.Error(t, err)
}

func TestLoadMasterKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	key := masterKey(t)
	require.NoError(t, os.WriteFile(path, []byte(key.Reveal()+"\n"), 0o600))
	got, err := signature.LoadMasterKey(path)
	require.NoError(t, err)
	assert.Equal(t, key.ID(), got.ID())

	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601, 0o666} {
		require.NoError(t, os.Chmod(path, mode))
		_, err = signature.LoadMasterKey(path)
		require.ErrorIs(t, err, signature.ErrInvalidMasterKey)
		require.ErrorContains(t, err, "chmod 600 '"+path+"'")
	}
	require.NoError(t, os.Chmod(path, 0o400))
	_, err = signature.LoadMasterKey(path)
	require.NoError(t, err)

	_, err = signature.LoadMasterKey(dir)
	require.ErrorContains(t, err, "not a regular file")
	_, err = signature.LoadMasterKey(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
	short := filepath.Join(dir, "short.key")
	require.NoError(t, os.WriteFile(short, []byte("abcd"), 0o600))
	_, err = signature.LoadMasterKey(short)
	require.ErrorContains(t, err, short)
}
