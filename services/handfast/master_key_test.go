package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "gocloud.dev/secrets/localsecrets" // base64key:, which production does not have

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// localKMS is the URL of a KMS that is only here, and is itself the key.
func localKMS(letter string) string {
	return "base64key://" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte(letter), 32))
}

func TestMasterKeysInAKMS(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	status, out, stderr := invoke(t, "key", "master", "create", "--kms", localKMS("a"), "--out", at("new"))
	require.Zero(t, status, stderr)
	wrapped, err := seal.LoadWrapped(at("new"))
	require.NoError(t, err, "its permissions are right as well")
	assert.Contains(t, out, wrapped.ID())
	read := func(file, url string) (seal.MasterKey, error) {
		chain, err := keySource{flag: "master-key", file: file, kms: url}.read()
		if err != nil {
			return seal.MasterKey{}, err
		}
		vault, err := chain.open(t.Context())
		return vault.Current, err
	}
	first, err := read(at("new"), localKMS("a"))
	require.NoError(t, err)
	assert.Equal(t, wrapped.ID(), first.ID())
	_, err = read(at("new"), localKMS("b"))
	require.ErrorContains(t, err, "--master-key-kms: the master key stays closed")
	assert.NotContains(t, err.Error(), localKMS("b")[20:40], "the URL of this KMS is its key")
	_, err = read(at("new"), "")
	require.ErrorContains(t, err, "--master-key-file")
	require.ErrorContains(t, err, "a KMS has wrapped it")

	status, _, stderr = invoke(t, "key", "master", "create", "--kms", localKMS("a"), "--out", at("new"))
	assert.Equal(t, 2, status)
	assert.Contains(t, stderr, "never written over another")

	// A plain one gets into a KMS, and from there into another, and stays the same.
	require.NoError(t, os.WriteFile(at("plain"), []byte(strings.Repeat("5a", 32)), 0o600))
	plain, err := read(at("plain"), "")
	require.NoError(t, err)
	_, err = read(at("plain"), localKMS("a"))
	require.ErrorContains(t, err, "not one that a KMS has wrapped", "a plain one does not pass for a protected one")
	do := func(arguments ...string) {
		t.Helper()
		status, _, stderr := invoke(t, append([]string{"key", "master", "create"}, arguments...)...)
		require.Zero(t, status, stderr)
	}
	do("--kms", localKMS("a"), "--from", at("plain"), "--out", at("moved"))
	do("--kms", localKMS("b"), "--from", at("moved"), "--from-kms", localKMS("a"), "--out", at("again"), "--json")
	moved, err := read(at("again"), localKMS("b"))
	require.NoError(t, err)
	assert.Equal(t, plain.Reveal(), moved.Reveal())
	chain, err := keySource{flag: "master-key", file: at("new"), kms: localKMS("a"), previous: []string{at("plain"), at("moved")}}.read()
	require.NoError(t, err, "those of before may be of either sort")
	vault, err := chain.open(t.Context())
	require.NoError(t, err)
	assert.Len(t, vault.Previous, 2)

	for _, c := range []struct{ arguments, words string }{
		{"--kms x --out " + at("x"), "--kms: the URL of the KMS cannot be used"},
		{"--kms " + localKMS("a") + " --from-kms x --out " + at("x"), "--from-kms: needs --from"},
		{"--kms " + localKMS("a") + " --from /nowhere/key --out " + at("x"), "--from-file: invalid master key"},
		{"--kms awskms://u:secret@x --out " + at("x"), "a user or a password"},
	} {
		status, _, stderr := invoke(t, append([]string{"key", "master", "create"}, strings.Fields(c.arguments)...)...)
		assert.Equal(t, 2, status)
		assert.Contains(t, stderr, c.words)
		assert.NotContains(t, stderr, "secret@")
	}
	assert.NoFileExists(t, at("x"))
}

// transit answers as a Vault does, with a cipher that turns bits around, and can be made to refuse.
type transit struct{ refuses atomic.Bool }

func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in map[string]string
	_ = json.NewDecoder(r.Body).Decode(&in)
	if v.refuses.Load() {
		w.WriteHeader(http.StatusForbidden)
		answer(w, map[string][]string{"errors": {"1 error occurred: permission denied for " + in["ciphertext"]}})
		return
	}
	turn := func(text string) string {
		raw, _ := base64.StdEncoding.DecodeString(text)
		for i := range raw {
			raw[i] ^= 0x5a
		}
		return base64.StdEncoding.EncodeToString(raw)
	}
	data := map[string]string{"plaintext": turn(strings.TrimPrefix(in["ciphertext"], "vault:v1:"))}
	if strings.Contains(r.URL.Path, "/encrypt/") {
		data = map[string]string{"ciphertext": "vault:v1:" + turn(in["plaintext"])}
	}
	answer(w, map[string]map[string]string{"data": data})
}

// TestASignerWaitsForItsKMS refuses the master key at first, gives it then, and takes it away again: what is open stays
// open, and the next signer does not start.
func TestASignerWaitsForItsKMS(t *testing.T) {
	dir := t.TempDir()
	vault := new(transit)
	kms := httptest.NewServer(vault)
	t.Cleanup(kms.Close)
	t.Setenv("VAULT_ADDR", kms.URL)
	t.Setenv("VAULT_TOKEN", "let-me-in")
	const url = "hashivault://handfast"
	master := filepath.Join(dir, "master.wrapped")
	status, _, stderr := invoke(t, "key", "master", "create", "--kms", url, "--out", master)
	require.Zero(t, status, stderr)
	text, err := os.ReadFile(master)
	require.NoError(t, err)
	address, page := free(t), free(t)
	server, err := embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats"), Listen: address})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	status, _, stderr = invoke(t, "topology", "apply", "--partitions", "2", "--server", "nats://"+address)
	require.Zero(t, status, stderr)

	vault.refuses.Store(true)
	service := func(page string) *running {
		return begin(t, "signer", "--server", "nats://"+address, "--http", page, "--master-key-file", master, "--master-key-kms", url)
	}
	s := service(page)
	says(t, "http://"+page+"/readyz", http.StatusServiceUnavailable, "the KMS refuses (hashivault)")
	says(t, "http://"+page+"/readyz", http.StatusServiceUnavailable, "nothing is signed, and deliveries wait")
	vault.refuses.Store(false)
	says(t, "http://"+page+"/readyz", http.StatusOK, "")
	says(t, "http://"+page+"/.well-known/jwks.json", http.StatusOK, `{"keys":[]}`)
	status, _, stderr = invoke(t, "key", "create", "acme/orders", "--scheme", "v1a", "--server", "nats://"+address, "--master-key-file", master, "--master-key-kms", url)
	require.Zero(t, status, stderr)
	says(t, "http://"+page+"/keys/acme/orders", http.StatusOK, `"state":"active"`)

	vault.refuses.Store(true)
	another := free(t)
	late := service(another)
	says(t, "http://"+another+"/readyz", http.StatusServiceUnavailable, "the KMS refuses (hashivault)")
	status, _, stderr = invoke(t, "key", "list", "--server", "nats://"+address, "--master-key-file", master, "--master-key-kms", url)
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, "the master key stays closed")
	says(t, "http://"+page+"/readyz", http.StatusOK, "")
	assert.Zero(t, late.end())
	assert.Zero(t, s.end())
	var parts struct {
		Wrapped []byte `json:"wrapped"`
	}
	require.NoError(t, json.Unmarshal(text, &parts))
	for _, said := range []string{s.err.String(), late.err.String(), stderr} {
		assert.NotContains(t, said, string(parts.Wrapped))
		assert.NotContains(t, said, string(parts.Wrapped)[len("vault:v1:"):][:12])
		assert.NotContains(t, said, base64.StdEncoding.EncodeToString(parts.Wrapped)[:24])
	}
	assert.Contains(t, late.err.String(), "the KMS refuses")
}

func TestKeysOfStoredIdentitiesInAKMS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "identity.wrapped")
	status, _, stderr := invoke(t, "key", "master", "create", "--kms", localKMS("a"), "--out", file)
	require.Zero(t, status, stderr)
	opened, err := identityKeyFlags{IdentityKeyFile: file, IdentityKeyKMS: localKMS("a")}.vault(t.Context())
	require.NoError(t, err)
	assert.NotEmpty(t, opened.Current.ID())
	_, err = (&dispatcherCommand{IdentityKeyKMS: localKMS("a")}).keys()
	require.ErrorContains(t, err, "--identity-key-file: is needed beside")
	chain, err := (&dispatcherCommand{IdentityKeyFile: file, IdentityKeyKMS: localKMS("a")}).keys()
	require.NoError(t, err)
	once := &openingVault{chain: chain}
	first, err := once.get(t.Context())
	require.NoError(t, err)
	once.chain.kms = "base64key://" // nobody is asked again
	again, err := once.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, first.Current.ID(), again.Current.ID())
	_, err = (&dispatcherCommand{IdentityKeyFile: file}).keys()
	require.ErrorContains(t, err, "--identity-key-file: "+file)
	none, err := (&openingVault{}).get(t.Context())
	require.NoError(t, err)
	assert.Empty(t, none.Current.ID(), "no stored identities, no key")
}

// TestTheKeyOfStoredIdentitiesInAVariable is for platforms whose secret files belong to somebody else.
func TestTheKeyOfStoredIdentitiesInAVariable(t *testing.T) {
	const key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	t.Setenv("HANDFAST_IDENTITY_KEY", key)
	chain, err := (&dispatcherCommand{}).keys()
	require.NoError(t, err)
	assert.NotEmpty(t, chain.current.plain.ID())
	_, err = (&dispatcherCommand{}).identities(t.Context(), mtls.FileOptions{})
	require.NoError(t, err, "stored identities are enough")
	_, err = (&dispatcherCommand{IdentityKeyFile: "key"}).keys()
	require.ErrorContains(t, err, "the key stands in HANDFAST_IDENTITY_KEY already")
	t.Setenv("HANDFAST_IDENTITY_KEY", key[:8])
	_, err = (&dispatcherCommand{}).keys()
	require.ErrorContains(t, err, "HANDFAST_IDENTITY_KEY: ")
	assert.NotContains(t, err.Error(), key[:8])
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
