package signer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

func text(t *testing.T, encoded string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	require.NoError(t, err)
	return raw
}

// TestFormsOfPublicKeys writes the keys of RFC 8037, appendix A.2, and RFC 7517, appendix A.1.
func TestFormsOfPublicKeys(t *testing.T) {
	const x, y = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
	point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, text(t, x)...), text(t, y)...))
	require.NoError(t, err)
	for want, public := range map[string]any{
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"k","use":"sig","alg":"EdDSA"}`: ed25519.PublicKey(text(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")),
		`{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `","kid":"k","use":"sig","alg":"ES256"}`:                      point,
	} {
		key, ok := jwkOf("k", public)
		require.True(t, ok)
		got, err := json.Marshal(key)
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	for _, unknown := range []any{nil, []byte("secret"), "secret", private, &private.PublicKey, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))} {
		_, ok := jwkOf("k", unknown)
		assert.False(t, ok)
	}
}

// TestTooManyKeysAreNoDocument: a part of the keys would be taken for all of them.
func TestTooManyKeysAreNoDocument(t *testing.T) {
	serve := func(n int) *httptest.ResponseRecorder {
		k := &Keyring{}
		k.view.begin(time.Now())
		k.view.complete(1)
		k.published.take(nil, 0, time.Now())
		_, k.published.version = k.view.all()
		for i := range n {
			name := "e" + strconv.Itoa(i)
			k.published.keys[endpoint.Key{Tenant: "acme", Name: name}] = []publicKey{{ID: name, jwk: jwk{ID: name}, over: func(time.Time) bool { return false }}}
		}
		k.published.write(time.Now())
		recorder := httptest.NewRecorder()
		k.ServeJWKS(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		return recorder
	}
	assert.Equal(t, http.StatusOK, serve(maxPublished).Code)
	answer := serve(maxPublished + 1)
	assert.Equal(t, http.StatusServiceUnavailable, answer.Code)
	assert.Contains(t, answer.Body.String(), "/keys/TENANT/ENDPOINT")
}
