package signature_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func generated(t *testing.T, scheme string, now time.Time) signature.Key {
	t.Helper()
	k, err := signature.GenerateKey(scheme, now, rand.Reader)
	require.NoError(t, err)
	return k
}

// add adds a new key and returns it as the ring holds it.
func add(t *testing.T, ring signature.Ring, scheme string, now time.Time) (signature.Ring, signature.Key) {
	t.Helper()
	k := generated(t, scheme, now)
	ring, err := ring.Add(k, now)
	require.NoError(t, err)
	held, ok := ring.Key(k.ID)
	require.True(t, ok)
	return ring, held
}

// signers are the ids of the keys that sign at a time.
func signers(t *testing.T, ring signature.Ring, scheme string, at time.Time) []string {
	t.Helper()
	_, used, err := signature.Signer{}.Sign(signature.Request{ID: "msg_1", Time: at, Body: []byte("x")}, []string{scheme}, ring)
	require.NoError(t, err)
	ids := make([]string, len(used))
	for i, u := range used {
		ids[i] = u.KeyID
		k, _ := ring.Key(u.KeyID)
		assert.True(t, k.Signs(at))
	}
	return ids
}

func TestTheFirstKeyIsActiveAndTheSecondWaits(t *testing.T) {
	ring, first := add(t, signature.Ring{}, signature.V1, noon)
	assert.Equal(t, signature.Active, first.State)
	ring, second := add(t, ring, signature.V1, noon)
	assert.Equal(t, signature.Next, second.State)
	ring, other := add(t, ring, signature.V1a, noon)
	assert.Equal(t, signature.Active, other.State, "each scheme has a first one")
	_, err := ring.Add(generated(t, signature.V1, noon), noon)
	require.ErrorIs(t, err, signature.ErrNotDecided)
	require.ErrorContains(t, err, second.ID)
	third := generated(t, signature.V1, noon)
	third.State = signature.Active
	ring, err = ring.Add(third, noon)
	require.NoError(t, err, "an active one needs no room among those that wait")
	assert.Equal(t, []string{first.ID, third.ID}, signers(t, ring, signature.V1, noon))
}

func TestASecretIsNotAddedTwice(t *testing.T) {
	ring, first := add(t, signature.Ring{}, signature.V1, noon)
	ring, _ = add(t, ring, signature.V1, noon)
	again, err := signature.ParseSecret(signature.V1, first.Reveal())
	require.NoError(t, err)
	_, err = ring.Add(again, noon)
	require.ErrorIs(t, err, signature.ErrKnownSecret)
	assert.NotContains(t, err.Error(), strings.TrimPrefix(first.Reveal(), "whsec_"))
	ring, _, err = ring.Revoke(first.ID, noon, nil)
	require.NoError(t, err)
	_, err = ring.Add(again, noon)
	require.ErrorIs(t, err, signature.ErrKnownSecret)
	require.ErrorContains(t, err, "revoked", "what was revoked does not come back by another door")
}

func TestRotationIsAnOverlap(t *testing.T) {
	ring, old := add(t, signature.Ring{}, signature.V1, noon)
	ring, next := add(t, ring, signature.V1, noon)
	assert.Equal(t, []string{old.ID}, signers(t, ring, signature.V1, noon), "the next one does not sign")
	ring, fresh, err := ring.Rotate(signature.V1, "", generated(t, signature.V1, noon), noon, time.Hour)
	require.NoError(t, err)
	assert.Equal(t, next.ID, fresh.ID, "the one that waited")
	assert.Len(t, ring.Keys(), 2, "none is made when one waits")
	end := noon.Add(time.Hour)
	assert.Equal(t, []string{fresh.ID, old.ID}, signers(t, ring, signature.V1, noon))
	assert.Equal(t, []string{fresh.ID, old.ID}, signers(t, ring, signature.V1, end), "its last instant")
	assert.Equal(t, []string{fresh.ID}, signers(t, ring, signature.V1, end.Add(1)))
	held, _ := ring.Key(old.ID)
	assert.Equal(t, signature.Retiring, held.State)
	assert.Equal(t, end, held.NotAfter)
	assert.False(t, held.Ended(end))
	assert.True(t, held.Ended(end.Add(1)))
	assert.True(t, held.Over(end.Add(1)))

	made := generated(t, signature.V1, noon)
	ring, fresh, err = ring.Rotate(signature.V1, "", made, noon.Add(time.Minute), time.Hour)
	require.NoError(t, err)
	assert.Equal(t, made.ID, fresh.ID, "none waited, so the made one is taken")
	held, _ = ring.Key(old.ID)
	assert.Equal(t, end, held.NotAfter, "an end that was promised stays")
}

func TestRotationKeepsAnEarlierEnd(t *testing.T) {
	old := generated(t, signature.V1, noon)
	old.State, old.NotAfter = signature.Active, noon.Add(time.Minute)
	ring, err := signature.NewRing(old)
	require.NoError(t, err)
	ring, _, err = ring.Rotate(signature.V1, "", generated(t, signature.V1, noon), noon, time.Hour)
	require.NoError(t, err)
	held, _ := ring.Key(old.ID)
	assert.Equal(t, noon.Add(time.Minute), held.NotAfter)
}

func TestWhatARotationRefuses(t *testing.T) {
	one, active := add(t, signature.Ring{}, signature.V1, noon)
	second := generated(t, signature.V1, noon)
	second.State = signature.Active
	two, err := one.Add(second, noon)
	require.NoError(t, err)
	waiting, err := signature.NewRing(append(one.Keys(), generated(t, signature.V1, noon), generated(t, signature.V1, noon))...)
	require.NoError(t, err)
	revoked, _, err := one.Revoke(active.ID, noon, nil)
	require.NoError(t, err)
	for _, test := range []struct {
		name           string
		ring           signature.Ring
		scheme, retire string
		made           string
		overlap        time.Duration
		want           error
		words          string
	}{
		{name: "nothing there", scheme: signature.V1, want: signature.ErrNoSuchKey, words: "no active key to rotate from"},
		{name: "all revoked", ring: revoked, scheme: signature.V1, want: signature.ErrNoSuchKey},
		{name: "another scheme", ring: one, scheme: signature.V1a, want: signature.ErrNoSuchKey},
		{name: "no such key", ring: one, scheme: signature.V1, retire: "key_x", want: signature.ErrNoSuchKey, words: active.ID},
		{name: "two are active", ring: two, scheme: signature.V1, want: signature.ErrNotDecided, words: second.ID},
		{name: "two wait", ring: waiting, scheme: signature.V1, want: signature.ErrNotDecided},
		{name: "backwards", ring: one, scheme: signature.V1, overlap: -1, want: signature.ErrInvalidKey},
		{name: "a key of another scheme", ring: one, scheme: signature.V1, made: signature.V1a, want: signature.ErrInvalidKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.made == "" {
				test.made = test.scheme
			}
			_, _, err := test.ring.Rotate(test.scheme, test.retire, generated(t, test.made, noon), noon, test.overlap)
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.words)
		})
	}
	ring, _, err := two.Rotate(signature.V1, second.ID, generated(t, signature.V1, noon), noon, time.Hour)
	require.NoError(t, err)
	held, _ := ring.Key(second.ID)
	assert.Equal(t, signature.Retiring, held.State)
	held, _ = ring.Key(active.ID)
	assert.Equal(t, signature.Active, held.State, "only the one that was named retires")
}

func TestTheLastActiveKeyIsNotRevoked(t *testing.T) {
	ring, old := add(t, signature.Ring{}, signature.V1, noon)
	_, _, err := ring.Revoke(old.ID, noon, []string{signature.V1})
	require.ErrorIs(t, err, signature.ErrLastKey)
	_, _, err = ring.Revoke("key_x", noon, nil)
	require.ErrorIs(t, err, signature.ErrNoSuchKey)
	ring, fresh, err := ring.Rotate(signature.V1, "", generated(t, signature.V1, noon), noon, time.Hour)
	require.NoError(t, err)
	_, _, err = ring.Revoke(fresh.ID, noon, []string{signature.V1})
	require.ErrorIs(t, err, signature.ErrLastKey, "a retiring key cannot sign alone")
	ring, gone, err := ring.Revoke(old.ID, noon.Add(time.Minute), []string{signature.V1})
	require.NoError(t, err)
	assert.Equal(t, signature.Revoked, gone.State)
	assert.Equal(t, noon.Add(time.Minute), gone.NotAfter, "when it was")
	assert.Equal(t, []string{fresh.ID}, signers(t, ring, signature.V1, noon))
	ring, again, err := ring.Revoke(old.ID, noon.Add(time.Hour), nil)
	require.NoError(t, err)
	assert.Equal(t, gone.NotAfter, again.NotAfter, "the second time changes nothing")
	_, _, err = ring.Revoke(fresh.ID, noon, []string{signature.V1a})
	require.NoError(t, err, "a scheme that is not needed may lose its last key")
}

func TestTooManyKeysDoNotSign(t *testing.T) {
	ring, _ := add(t, signature.Ring{}, signature.V1, noon)
	var err error
	for range signature.MaxSigning - 1 {
		ring, _, err = ring.Rotate(signature.V1, "", generated(t, signature.V1, noon), noon, time.Hour)
		require.NoError(t, err)
	}
	assert.Len(t, signers(t, ring, signature.V1, noon), signature.MaxSigning)
	_, _, err = ring.Rotate(signature.V1, "", generated(t, signature.V1, noon), noon, time.Hour)
	require.ErrorIs(t, err, signature.ErrTooManyKeys)
	_, _, err = ring.Rotate(signature.V1, "", generated(t, signature.V1, noon), noon.Add(time.Hour+1), time.Hour)
	require.NoError(t, err, "when they have ended there is room again")
}

// TestARingThatIsRotatedForEverStaysSmall rotates a thousand times and keeps what ended last.
func TestARingThatIsRotatedForEverStaysSmall(t *testing.T) {
	ring, _ := add(t, signature.Ring{}, signature.V1, noon)
	now := noon
	var last string
	for range 1000 {
		now = now.Add(time.Minute)
		last = signers(t, ring, signature.V1, now)[0]
		var err error
		ring, _, err = ring.Rotate(signature.V1, "", generated(t, signature.V1, now), now, 90*time.Second)
		require.NoError(t, err)
		require.LessOrEqual(t, len(ring.Keys()), 32)
	}
	old, known := ring.Key(last)
	require.True(t, known)
	assert.Equal(t, signature.Retiring, old.State)
}
