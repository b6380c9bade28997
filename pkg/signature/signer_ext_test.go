package signature_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

func TestSignMergesSchemes(t *testing.T) {
	ring := ringOf(t,
		parse(t, "pair", signature.V1a, vectorPrivate),
		parse(t, "shared", signature.V1, vectorSecret))
	fields, used, err := signature.Signer{}.Sign(vectorRequest(), []string{signature.V1, signature.V1a}, ring)
	require.NoError(t, err)
	assert.Equal(t, []signature.Field{
		{Name: "webhook-id", Value: vectorID},
		{Name: "webhook-timestamp", Value: "1614265330"},
		{Name: "webhook-signature", Value: vectorV1 + " " + vectorV1a, Separator: " "},
	}, fields)
	assert.Equal(t, []signature.Used{{Scheme: "v1", KeyID: "shared"}, {Scheme: "v1a", KeyID: "pair"}}, used)
}

func TestSignUsesActiveThenRetiringKeysOnly(t *testing.T) {
	now := time.Unix(vectorUnix, 0)
	until := func(key signature.Key, at time.Time) signature.Key { key.NotAfter = at; return key }
	for _, scheme := range signature.Standard() {
		ring := ringOf(t,
			generate(t, "next", scheme, signature.Next),
			generate(t, "revoked", scheme, signature.Revoked),
			generate(t, "retiring", scheme, signature.Retiring),
			until(generate(t, "retiring-last-second", scheme, signature.Retiring), now),
			until(generate(t, "retiring-over", scheme, signature.Retiring), now.Add(-time.Second)),
			generate(t, "active", scheme, signature.Active))
		fields, used, err := signature.Signer{}.Sign(vectorRequest(), []string{scheme}, ring)
		require.NoError(t, err)
		var ids []string
		for _, u := range used {
			ids = append(ids, u.KeyID)
		}
		assert.Equal(t, []string{"active", "retiring", "retiring-last-second"}, ids)
		assert.Len(t, strings.Split(fields[2].Value, " "), 3)
		for _, key := range ring.Keys() {
			if key.State == signature.Revoked {
				continue
			}
			_, err := signature.VerifyStandard(headerOf(fields), []byte(vectorBody), []signature.Verifier{verifierOf(t, key)}, now, 0)
			if signs := key.State != signature.Next && key.ID != "retiring-over"; signs {
				assert.NoError(t, err, key.ID)
			} else {
				assert.ErrorIs(t, err, signature.ErrNoMatch, key.ID)
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	expired := generate(t, "expired", signature.V1, signature.Active)
	expired.NotAfter = time.Unix(vectorUnix-1, 0)
	v1, both := []string{"v1"}, []string{"v1", "v1a"}
	good := ringOf(t, generate(t, "k1", signature.V1, signature.Active))
	for _, c := range []struct {
		name    string
		ring    signature.Ring
		schemes []string
		want    error
	}{
		{"no scheme", good, nil, signature.ErrUnknownScheme},
		{"unknown scheme", good, []string{"v2"}, signature.ErrUnknownScheme},
		{"scheme twice", good, []string{"v1", "v1"}, signature.ErrUnknownScheme},
		{"empty ring", signature.Ring{}, v1, signature.ErrNoActiveKey},
		{"only one of two schemes has a key", good, both, signature.ErrNoActiveKey},
		{"next only", ringOf(t, generate(t, "k", signature.V1, signature.Next)), v1, signature.ErrNoActiveKey},
		{"retiring only", ringOf(t, generate(t, "k", signature.V1, signature.Retiring)), v1, signature.ErrNoActiveKey},
		{"revoked only", ringOf(t, generate(t, "k", signature.V1, signature.Revoked)), v1, signature.ErrNoActiveKey},
		{"active but over", ringOf(t, expired), v1, signature.ErrNoActiveKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields, used, err := signature.Signer{}.Sign(vectorRequest(), c.schemes, c.ring)
			require.ErrorIs(t, err, c.want)
			assert.Empty(t, fields)
			assert.Empty(t, used)
		})
	}
}

func TestSignTellsEveryProblem(t *testing.T) {
	_, _, err := signature.Signer{}.Sign(signature.Request{}, []string{"v9", "v1", "v1a"}, signature.Ring{})
	require.ErrorIs(t, err, signature.ErrInvalidRequest)
	require.ErrorIs(t, err, signature.ErrUnknownScheme)
	require.ErrorIs(t, err, signature.ErrNoActiveKey)
	for _, words := range []string{"id is empty", "before 1970", `"v9"`, "scheme v1:", "scheme v1a:"} {
		assert.ErrorContains(t, err, words)
	}
}

func TestSignRefusesIDs(t *testing.T) {
	ring := ringOf(t, generate(t, "k1", signature.V1, signature.Active))
	for _, id := range []string{"", "a.b", ".", "a b", " a", "a\n", "a\x00", "a\x7f", "é", strings.Repeat("a", signature.MaxIDLength+1)} {
		r := vectorRequest()
		r.ID = id
		_, _, err := signature.Signer{}.Sign(r, []string{"v1"}, ring)
		require.ErrorIs(t, err, signature.ErrInvalidRequest, "%q", id)
	}
	r := vectorRequest()
	r.ID = strings.Repeat("~", signature.MaxIDLength)
	_, _, err := signature.Signer{}.Sign(r, []string{"v1"}, ring)
	assert.NoError(t, err)
}

func TestSchemeRefusesForeignAndMissingKeys(t *testing.T) {
	for _, name := range signature.Standard() {
		scheme, ok := signature.Lookup(name)
		require.True(t, ok)
		require.Equal(t, name, scheme.Name())
		_, err := scheme.Sign(vectorRequest(), nil)
		require.ErrorIs(t, err, signature.ErrNoActiveKey)
		_, err = scheme.Sign(vectorRequest(), []signature.Key{{ID: "empty", Scheme: name}})
		require.ErrorIs(t, err, signature.ErrInvalidKey)
		for _, other := range signature.Standard() {
			if other != name {
				_, err = scheme.Sign(vectorRequest(), []signature.Key{generate(t, "k", other, signature.Active)})
				require.ErrorIs(t, err, signature.ErrInvalidKey)
			}
		}
		_, err = scheme.Sign(signature.Request{}, []signature.Key{generate(t, "k", name, signature.Active)})
		require.ErrorIs(t, err, signature.ErrInvalidRequest)
	}
	_, ok := signature.Lookup("V1")
	assert.False(t, ok)
}

// TestSignConcurrently shares one key's prepared state between goroutines.
func TestSignConcurrently(t *testing.T) {
	ring := ringOf(t, parse(t, "shared", signature.V1, vectorSecret), parse(t, "pair", signature.V1a, vectorPrivate))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				fields, _, err := signature.Signer{}.Sign(vectorRequest(), signature.Standard(), ring)
				if assert.NoError(t, err) {
					assert.Equal(t, vectorV1+" "+vectorV1a, fields[2].Value)
				}
			}
		})
	}
	group.Wait()
}
