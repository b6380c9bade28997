package signature_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// TestStateTransitions states the whole table.
func TestStateTransitions(t *testing.T) {
	allowed := map[string]bool{
		"next>active": true, "next>revoked": true,
		"active>retiring": true, "active>revoked": true,
		"retiring>active": true, "retiring>revoked": true,
	}
	for _, from := range signature.States() {
		for _, to := range signature.States() {
			want := from == to || allowed[from.String()+">"+to.String()]
			assert.Equal(t, want, from.CanBecome(to), "%s to %s", from, to)
		}
	}
	assert.False(t, signature.State(9).CanBecome(signature.Active))
	assert.False(t, signature.State(9).CanBecome(9))
	assert.False(t, signature.Next.CanBecome(9))
}

func TestStateText(t *testing.T) {
	for _, s := range signature.States() {
		text, err := json.Marshal(s)
		require.NoError(t, err)
		assert.JSONEq(t, `"`+s.String()+`"`, string(text))
		var back signature.State
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, s, back)
	}
	_, err := signature.State(9).MarshalText()
	require.ErrorIs(t, err, signature.ErrInvalidKey)
	state := signature.Active
	require.ErrorIs(t, state.UnmarshalText([]byte("Active ")), signature.ErrInvalidKey)
	assert.Equal(t, signature.Active, state)
}

func TestNewRingTellsEveryProblem(t *testing.T) {
	good := generate(t, "twice", "v1", signature.Active)
	badState := generate(t, "odd", "v1", signature.State(7))
	badID := generate(t, "has space", "v1", signature.Active)
	_, err := signature.NewRing(good, good, badState, badID, signature.Key{ID: "bare", Scheme: "v3"})
	require.ErrorIs(t, err, signature.ErrInvalidKey)
	require.ErrorIs(t, err, signature.ErrUnknownScheme)
	for _, words := range []string{`"twice": its id is used twice`, "State(7)", `"has space": its id needs`, `"bare": unknown signature scheme`, "has no secret"} {
		require.ErrorContains(t, err, words)
	}
	many := make([]signature.Key, 65)
	for i := range many {
		many[i] = good
		many[i].ID = fmt.Sprint("k", i)
	}
	_, err = signature.NewRing(many...)
	require.ErrorContains(t, err, "at most 64")
	_, err = signature.NewRing(many[:64]...)
	assert.NoError(t, err)
}

func TestRingPut(t *testing.T) {
	ring := ringOf(t, generate(t, "a", "v1", signature.Active))
	next, err := ring.Put(generate(t, "b", "v1", signature.Next))
	require.NoError(t, err)
	assert.Len(t, ring.Keys(), 1, "a ring never changes")
	require.Len(t, next.Keys(), 2)

	b, ok := next.Key("b")
	require.True(t, ok)
	b.State, b.NotAfter = signature.Active, time.Unix(vectorUnix, 0)
	active, err := next.Put(b)
	require.NoError(t, err)
	got, _ := active.Key("b")
	assert.Equal(t, signature.Active, got.State)
	assert.Equal(t, b.NotAfter, got.NotAfter)

	b.State = signature.Next
	_, err = active.Put(b)
	require.ErrorContains(t, err, "is active and cannot become next")
	_, err = active.Put(generate(t, "b", "v1", signature.Active))
	require.ErrorContains(t, err, "a new secret needs a new id")
	_, ok = ring.Key("zzz")
	assert.False(t, ok)

	active.Keys()[0].State = signature.Revoked
	first, _ := active.Key("a")
	assert.Equal(t, signature.Active, first.State, "Keys returns a copy")
}

func TestKeyWithoutSecret(t *testing.T) {
	var zero signature.Key
	assert.Empty(t, zero.Reveal())
	assert.Empty(t, zero.Public())
	_, err := zero.Verifier()
	require.ErrorIs(t, err, signature.ErrInvalidKey)
	_, err = generate(t, "k", "v1", signature.Revoked).Verifier()
	assert.ErrorIs(t, err, signature.ErrInvalidKey)
}

func TestRingHas(t *testing.T) {
	key, err := signature.GenerateKey(signature.V1a, time.Time{}, rand.Reader)
	require.NoError(t, err)
	ring := ringOf(t, key)
	assert.True(t, ring.Has(signature.V1a), "a next key counts")
	assert.False(t, ring.Has(signature.V1))
	assert.False(t, signature.Ring{}.Has(signature.V1a))
}
