package signature_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// TestSeveralKeysSign has an old and a new key, and a receiver that knows one of them.
func TestSeveralKeysSign(t *testing.T) {
	r := signature.Request{ID: "msg_1", Time: time.Unix(vectorUnix, 0), Method: http.MethodPost, URL: "https://example.com/in?a=1", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{}`)}
	signer := signature.Signer{Template: signature.Template{Header: "X-Acme", Content: "{body}", Separator: ","}}
	for _, scheme := range signature.Schemes() {
		t.Run(scheme, func(t *testing.T) {
			old, current := generate(t, "old", scheme, signature.Retiring), generate(t, "new", scheme, signature.Active)
			sent, fields, used := sign(t, signer, r, []string{scheme}, old, current, generate(t, "next", scheme, signature.Next))
			in := arrived(t, sent, fields)
			in.Template = signer.Template
			verify := func(keys ...signature.Key) (signature.Verified, error) {
				var verifiers []signature.Verifier
				for _, k := range keys {
					verifiers = append(verifiers, verifierOf(t, k))
				}
				return signature.Verify(scheme, in, verifiers, r.Time, 0)
			}
			got, err := verify(generate(t, "x", scheme, signature.Active), current)
			require.NoError(t, err)
			assert.Equal(t, "new", got.KeyID)
			if signature.OneKey(scheme) {
				assert.Equal(t, []signature.Used{{Scheme: scheme, KeyID: "new"}}, used, "the one that signed")
				_, err = verify(old)
				require.ErrorIs(t, err, signature.ErrNoMatch)
				known, _ := signature.Lookup(scheme)
				_, err = known.Sign(sent, []signature.Key{old, current})
				require.ErrorIs(t, err, signature.ErrInvalidRequest, "two keys never seem to have signed")
			} else {
				assert.Len(t, used, 2)
				got, err = verify(old)
				require.NoError(t, err)
				assert.Equal(t, "old", got.KeyID)
			}
			_, err = verify(generate(t, "old", scheme, signature.Active), generate(t, "stranger", scheme, signature.Active))
			require.ErrorIs(t, err, signature.ErrNoMatch)
			_, err = verify()
			require.ErrorIs(t, err, signature.ErrNoVerifier)
		})
	}
}

// TestKeysOfOtherSchemes shows each scheme the keys of all others, as signer and as receiver.
func TestKeysOfOtherSchemes(t *testing.T) {
	r := vectorRequest()
	r.Method, r.URL = http.MethodPost, "https://example.com/in"
	r.Header = http.Header{"Content-Type": {"text/plain"}}
	plain, template := r, signature.Template{Header: "X-Acme", Content: "{body}"}
	keys := map[string]signature.Key{}
	var verifiers []signature.Verifier
	for _, name := range signature.Schemes() {
		keys[name] = generate(t, name, name, signature.Active)
		verifiers = append(verifiers, verifierOf(t, keys[name]))
	}
	for _, name := range signature.Schemes() {
		scheme, ok := signature.Lookup(name)
		require.True(t, ok)
		require.Equal(t, name, scheme.Name())
		if name == signature.TemplateScheme {
			_, err := scheme.Sign(r, []signature.Key{keys[name]})
			require.ErrorIs(t, err, signature.ErrInvalidRequest, "it has no template")
			scheme, _ = template.Scheme()
		}
		query, err := signature.Query(r, []string{name})
		require.NoError(t, err)
		r := r
		r.URL = signature.Extend(r.URL, query)
		for other, key := range keys {
			_, err := scheme.Sign(r, []signature.Key{key})
			if other == name {
				require.NoError(t, err, name)
				continue
			}
			require.ErrorIs(t, err, signature.ErrInvalidKey, "%s with a key of %s", name, other)
		}
		_, err = scheme.Sign(r, nil)
		require.ErrorIs(t, err, signature.ErrNoActiveKey, name)
		_, err = scheme.Sign(r, []signature.Key{{ID: "empty", Scheme: name}})
		require.ErrorIs(t, err, signature.ErrInvalidKey, name)

		sent, fields, _ := sign(t, signature.Signer{Template: template}, plain, []string{name}, keys[name])
		in := arrived(t, sent, fields)
		in.Template = template
		got, err := signature.Verify(name, in, verifiers, r.Time, 0)
		require.NoError(t, err, name)
		assert.Equal(t, name, got.KeyID)
		rest := slices.DeleteFunc(slices.Clone(verifiers), func(v signature.Verifier) bool { return v.Scheme() == name })
		_, err = signature.Verify(name, in, rest, r.Time, 0)
		require.ErrorIs(t, err, signature.ErrNoVerifier, name)
	}
}
