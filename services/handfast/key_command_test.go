package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// TestASignerShowsPublicKeys reads what receivers read, from a signer that began before there was a NATS server.
func TestASignerShowsPublicKeys(t *testing.T) {
	dir := t.TempDir()
	address, page := free(t), free(t)
	master := filepath.Join(dir, "master.key")
	require.NoError(t, os.WriteFile(master, []byte(strings.Repeat("5a", 32)), 0o600))
	s := begin(t, "signer", "--server", "nats://"+address, "--http", page, "--master-key-file", master)
	for _, path := range []string{"/.well-known/jwks.json", "/keys/acme/orders"} {
		says(t, "http://"+page+path, http.StatusServiceUnavailable, "the signer has not started yet")
	}
	server, err := embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats"), Listen: address})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	do := func(arguments ...string) string {
		t.Helper()
		status, out, stderr := invoke(t, append(arguments, "--server", "nats://"+address)...)
		require.Zero(t, status, stderr)
		return out
	}
	do("topology", "apply", "--partitions", "2")
	says(t, "http://"+page+"/.well-known/jwks.json", http.StatusOK, `{"keys":[]}`)
	change := func(verb string, more ...string) keyChange {
		var made keyChange
		out := do(append([]string{"key", verb, "acme/orders", "--scheme", "v1a", "--master-key-file", master, "--json"}, more...)...)
		require.NoError(t, json.Unmarshal([]byte(out), &made))
		return made
	}
	first, next := change("create"), change("create")
	assert.Equal(t, "active next", first.Key.State+" "+next.Key.State)
	for _, made := range []keyChange{first, next} {
		says(t, "http://"+page+"/.well-known/jwks.json", http.StatusOK, `"kid":"`+made.Key.ID+`"`)
		says(t, "http://"+page+"/keys/acme/orders", http.StatusOK, `"public":"`+made.Key.Public+`"`)
	}
	status, _ := get("http://" + page + "/keys/acme/none")
	assert.Equal(t, http.StatusNotFound, status)
	for key, want := range map[string]string{"key_none": "no such key", next.Key.ID: "Revoke key " + next.Key.ID} {
		status, _, stderr := invoke(t, "key", "revoke", "acme/orders", key, "--server", "nats://"+address, "--master-key-file", master)
		assert.Equal(t, 1, status)
		assert.Contains(t, stderr, want, "one that is not there is nothing to be asked about")
	}
	rotated := change("rotate", "--overlap", "1h")
	assert.Equal(t, next.Key.ID, rotated.Key.ID)
	says(t, "http://"+page+"/keys/acme/orders", http.StatusOK, `"state":"retiring"`)
	assert.Zero(t, s.end())
}

// TestASignerWithAnotherMasterKeyIsNotReady: it signs nothing, and whoever rolls it out has to see that before the next
// one is replaced. One that opens the keys is not touched by it.
func TestASignerWithAnotherMasterKeyIsNotReady(t *testing.T) {
	dir := t.TempDir()
	address := free(t)
	server, err := embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats"), Listen: address})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	status, _, stderr := invoke(t, "topology", "apply", "--partitions", "2", "--server", "nats://"+address)
	require.Zero(t, status, stderr)
	signer := func(name, digits string) (page, file string, s *running) {
		page, file = free(t), filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(strings.Repeat(digits, 32)), 0o600))
		return "http://" + page + "/readyz", file, begin(t, "signer", "--server", "nats://"+address, "--http", page, "--master-key-file", file)
	}
	right, file, one := signer("right.key", "5a")
	wrong, _, other := signer("wrong.key", "a5")
	says(t, right, http.StatusOK, "ready")
	says(t, wrong, http.StatusOK, "ready") // nothing is sealed yet, so any master key is the right one
	status, _, stderr = invoke(t, "key", "create", "acme/orders", "--scheme", "v1", "--server", "nats://"+address, "--master-key-file", file)
	require.Zero(t, status, stderr)
	says(t, wrong, http.StatusServiceUnavailable, "this signer's master key opens none of the signing keys, so it signs nothing")
	says(t, right, http.StatusOK, "ready")
	assert.Zero(t, other.end())
	assert.Zero(t, one.end())
}

// TestHiddenSecretsHaveTheFormOfTheirScheme: what stands for a secret says what to expect, and every real one has that form.
func TestHiddenSecretsHaveTheFormOfTheirScheme(t *testing.T) {
	for scheme, want := range map[string]string{
		"v1": "whsec_BASE64 (hidden)", "stripe": "whsec_TEXT (hidden)", "rfc9421-hmac-sha256": "BASE64 (hidden)",
		"slack": "TEXT (hidden)", "github": "TEXT (hidden)", "docusign": "TEXT (hidden)", "pagerduty": "TEXT (hidden)",
		"shopify": "TEXT (hidden)", "twilio": "TEXT (hidden)", "template": "TEXT (hidden)",
	} {
		assert.Equal(t, want, hidden(scheme))
	}
	for _, scheme := range signature.Schemes() {
		key, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
		require.NoError(t, err)
		form := signature.SecretForm(scheme)
		require.NotEmpty(t, form, scheme)
		head, _, found := strings.Cut(form, "_")
		assert.Equal(t, found, strings.HasPrefix(key.Reveal(), head+"_"), scheme)
		if strings.HasSuffix(form, "BASE64") {
			_, encoded, _ := strings.Cut("_"+strings.ReplaceAll(key.Reveal(), "_", ""), "_")
			_, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(encoded, head))
			assert.NoError(t, err, scheme)
		}
	}
	assert.Empty(t, signature.SecretForm("v9"))
}
