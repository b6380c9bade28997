package kms_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "gocloud.dev/secrets/localsecrets" // base64key:, which production does not have

	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/seal/kms"
)

func local(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return "base64key://" + base64.URLEncoding.EncodeToString(key)
}

func open(t *testing.T, url string) *kms.Keeper {
	t.Helper()
	k, err := kms.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

func master(t *testing.T) seal.MasterKey {
	t.Helper()
	m, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	return m
}

func TestAMasterKeyInAKMS(t *testing.T) {
	m, k := master(t), open(t, local(t))
	text, err := m.Wrap(t.Context(), k)
	require.NoError(t, err)
	key, err := seal.ParseWrapped(text)
	require.NoError(t, err)
	opened, err := key.Open(t.Context(), k)
	require.NoError(t, err)
	assert.Equal(t, m.Reveal(), opened.Reveal())
	_, err = key.Open(t.Context(), open(t, local(t)))
	require.Error(t, err, "another key of the same service")
	assertSecretless(t, err, m, text)
}

// assertSecretless looks for the key and for what is wrapped.
func assertSecretless(t *testing.T, err error, m seal.MasterKey, text []byte) {
	t.Helper()
	var parts struct {
		Wrapped []byte `json:"wrapped"`
	}
	require.NoError(t, json.Unmarshal(text, &parts))
	for _, secret := range []string{m.Reveal()[:12], string(parts.Wrapped), base64.StdEncoding.EncodeToString(parts.Wrapped)[:12]} {
		assert.NotContains(t, err.Error(), secret)
	}
}

func TestURLs(t *testing.T) {
	for url, words := range map[string]string{
		"":                      "it is empty",
		"mykey":                 "not SERVICE://KEY",
		"awskms":                "not SERVICE://KEY",
		"paperkms://x":          `"paperkms" is not built in; use one of awskms://, azurekeyvault://, base64key://, gcpkms://, hashivault://`,
		"hashivault://":         "no key follows",
		"hashivault://u:p@mine": "a user or a password",
		"awskms://a\x00b":       "not SERVICE://KEY",
		"awskms:///alias/handfast?region=eu-central-1":            "",
		"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k": "",
		"azurekeyvault://vault.example/keys/k":                    "",
		"hashivault://handfast":                                   "",
	} {
		err := kms.Check(url)
		if words == "" {
			require.NoError(t, err, url)
			continue
		}
		require.ErrorIs(t, err, kms.ErrURL, url)
		require.ErrorContains(t, err, words, url)
		assert.NotContains(t, err.Error(), "u:p@")
		_, err = kms.Open(t.Context(), url)
		require.ErrorIs(t, err, kms.ErrURL)
	}
	secret := strings.Repeat("c2VjcmV0", 3)
	_, err := kms.Open(t.Context(), "base64key://"+secret)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secret, "the URL of this driver is the key itself")
}

// transit answers as the transit engine of a Vault does, with a cipher that turns bits around.
type transit struct {
	token   string
	refuses atomic.Int32 // the status that it answers with instead, 0 for none
	empty   atomic.Bool  // it answers, and with nothing
	asked   atomic.Int32
}

func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.asked.Add(1)
	var in map[string]string
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &in)
	if status := int(v.refuses.Load()); status != 0 || r.Header.Get("X-Vault-Token") != v.token {
		w.WriteHeader(max(status, http.StatusForbidden))
		// A service that repeats what it was asked.
		answer(w, map[string][]string{"errors": {"no: " + in["ciphertext"] + in["plaintext"]}})
		return
	}
	if v.empty.Load() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	turn := func(text string) []byte {
		raw, _ := base64.StdEncoding.DecodeString(text)
		for i := range raw {
			raw[i] ^= 0x5a
		}
		return raw
	}
	data := map[string]string{}
	switch r.URL.Path {
	case "/v1/transit/encrypt/handfast":
		data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(turn(in["plaintext"]))
	case "/v1/transit/decrypt/handfast":
		data["plaintext"] = base64.StdEncoding.EncodeToString(turn(strings.TrimPrefix(in["ciphertext"], "vault:v1:")))
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	answer(w, map[string]map[string]string{"data": data})
}

// TestAVault speaks to the real driver. It is the only test of it, because the driver reads the environment once.
func TestAVault(t *testing.T) {
	v := &transit{token: "let-me-in"}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", v.token)
	m, k := master(t), open(t, "hashivault://handfast")
	text, err := m.Wrap(t.Context(), k)
	require.NoError(t, err)
	key, err := seal.ParseWrapped(text)
	require.NoError(t, err)
	opened, err := key.Open(t.Context(), k)
	require.NoError(t, err)
	assert.Equal(t, m.Reveal(), opened.Reveal())

	_, err = key.Open(t.Context(), open(t, "hashivault://another"))
	require.ErrorIs(t, err, kms.ErrRefused)
	v.refuses.Store(http.StatusForbidden)
	_, err = key.Open(t.Context(), k)
	require.ErrorIs(t, err, kms.ErrRefused, "the key was revoked")
	require.ErrorContains(t, err, "…", "and it repeated what it was asked")
	assertSecretless(t, err, m, text)
	_, err = m.Wrap(t.Context(), k)
	require.ErrorIs(t, err, kms.ErrRefused)
	assertSecretless(t, err, m, text)
	v.refuses.Store(0)
	v.empty.Store(true)
	_, err = key.Open(t.Context(), k)
	require.ErrorIs(t, err, kms.ErrAway)
	require.ErrorContains(t, err, "not one that the driver understands")
	server.Close()
	_, err = key.Open(t.Context(), k)
	require.ErrorIs(t, err, kms.ErrAway)
	assertSecretless(t, err, m, text)
}

// answer writes JSON.
func answer(w http.ResponseWriter, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(text)
}
