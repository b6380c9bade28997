package receiver

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

func newLedger(store Store) ledger {
	return ledger{store: store, now: time.Now, lease: time.Minute, remember: 24 * time.Hour, tolerance: 5 * time.Minute}
}

// try is a verified request of delivery "a", signed age ago.
func (l ledger) try(t *testing.T, age time.Duration, body string) (standing, attempt) {
	t.Helper()
	a := l.attempt(signature.Verified{ID: "a", Time: time.Now().Add(-age).Truncate(time.Second)}, []byte(body))
	state, _, err := l.begin(t.Context(), &a)
	require.NoError(t, err)
	return state, a
}

// TestTheTable is the table of the package comment, line by line, in each phase of the delivery.
func TestTheTable(t *testing.T) {
	for _, c := range []struct {
		name                   string
		first                  phase // how the first attempt ended; processing for not yet
		same, older, later     standing
		laterOther, afterLease standing
	}{
		{"processed", done, replayed, replayed, duplicate, changed, duplicate},
		{"failed", released, replayed, replayed, claimed, changed, claimed},
		{"running", processing, replayed, replayed, busy, changed, claimed},
	} {
		for _, step := range []struct {
			name string
			wait time.Duration
			age  time.Duration
			body string
			want standing
		}{
			{"the same attempt at once", 0, 0, "body", c.same},
			{"the same attempt a second later", time.Second, time.Second, "body", c.same},
			{"the same attempt at +4 min", 4 * time.Minute, 4 * time.Minute, "body", c.same},
			{"an older attempt", 0, time.Second, "body", c.older},
			{"a later attempt", time.Second, 0, "body", c.later},
			{"a later attempt with another body", time.Second, 0, "another", c.laterOther},
			{"the same attempt with another body", time.Second, time.Second, "another", changed},
			{"a later attempt after the lease", time.Minute, 0, "body", c.afterLease},
		} {
			t.Run(c.name+", "+step.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLedger(NewMemory(0))
					state, a := l.try(t, 0, "body")
					require.Equal(t, claimed, state)
					if c.first != processing {
						require.NoError(t, l.end(t.Context(), &a, c.first))
					}
					<-time.After(step.wait)
					state, _ = l.try(t, step.age, step.body)
					assert.Equal(t, step.want, state)
				})
			})
		}
	}
}

// TestEveryAttemptIsUsedUp: an attempt that was only acknowledged, or turned away while another ran, cannot be replayed.
func TestEveryAttemptIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(NewMemory(0))
		_, first := l.try(t, 0, "body")
		<-time.After(2 * time.Second)
		state, _ := l.try(t, 0, "body")
		require.Equal(t, busy, state)
		require.NoError(t, l.end(t.Context(), &first, released), "a note about another attempt does not take the claim away")
		state, _ = l.try(t, 0, "body")
		assert.Equal(t, replayed, state, "turned away, and sent again as it was")
		<-time.After(time.Second)
		state, second := l.try(t, 0, "body")
		require.Equal(t, claimed, state)
		require.NoError(t, l.end(t.Context(), &second, done))

		// The last acknowledged attempt lies just before the record would have been forgotten.
		<-time.After(24*time.Hour - time.Second)
		state, _ = l.try(t, 0, "body")
		require.Equal(t, duplicate, state)
		<-time.After(4 * time.Minute)
		state, _ = l.try(t, 4*time.Minute, "body")
		assert.Equal(t, replayed, state)
		<-time.After(2 * time.Minute)
		state, _ = l.try(t, 0, "body")
		assert.Equal(t, claimed, state, "forgotten, and everything that was signed before is too old")
	})
}

// TestFutureTimestamps: an attempt from a clock that is ahead is fresh for longer, and remembered for as long.
func TestFutureTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(NewMemory(0))
		_, a := l.try(t, -5*time.Minute, "body")
		require.NoError(t, l.end(t.Context(), &a, released))
		<-time.After(10*time.Minute + clockSkew - time.Second)
		state, _ := l.try(t, 5*time.Minute+clockSkew-time.Second, "body")
		assert.Equal(t, replayed, state, "10 minutes later it is just fresh, for a clock that is behind")
	})
}

func TestALostClaimEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(NewMemory(0))
		_, slow := l.try(t, 0, "body")
		<-time.After(time.Minute)
		state, next := l.try(t, 0, "body")
		require.Equal(t, claimed, state)
		require.ErrorIs(t, l.end(t.Context(), &slow, done), errLost)
		<-time.After(time.Second)
		state, _ = l.try(t, 0, "body")
		assert.Equal(t, busy, state, "the second claim stands")
		require.NoError(t, l.end(t.Context(), &next, done))
		require.ErrorIs(t, l.end(t.Context(), &next, done), errLost, "once")
	})
}

func TestOneOfManyIsProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(NewMemory(0))
		var (
			wg     sync.WaitGroup
			mu     sync.Mutex
			counts = map[standing]int{}
		)
		for range 100 {
			wg.Go(func() {
				a := l.attempt(signature.Verified{ID: "a", Time: time.Now()}, nil)
				state, _, err := l.begin(context.Background(), &a)
				mu.Lock()
				defer mu.Unlock()
				assert.NoError(t, err)
				counts[state]++
			})
		}
		wg.Wait()
		assert.Equal(t, map[standing]int{claimed: 1, replayed: 99}, counts)
	})
}

// TestWeakerSchemes sign no id, or no time either.
func TestWeakerSchemes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(NewMemory(0))
		begin := func(v signature.Verified, body string) (standing, attempt) {
			a := l.attempt(v, []byte(body))
			state, _, err := l.begin(t.Context(), &a)
			require.NoError(t, err)
			return state, a
		}
		timed := signature.Verified{Time: time.Now()}
		state, a := begin(timed, "x")
		require.Equal(t, claimed, state)
		require.NoError(t, l.end(t.Context(), &a, done))
		state, _ = begin(timed, "x")
		assert.Equal(t, replayed, state)
		state, _ = begin(timed, "y")
		assert.Equal(t, claimed, state, "another body is another delivery")
		state, _ = begin(signature.Verified{Time: time.Now().Add(time.Second)}, "x")
		assert.Equal(t, claimed, state, "and so is another time")

		state, a = begin(signature.Verified{}, "x")
		require.Equal(t, claimed, state)
		state, _ = begin(signature.Verified{}, "x")
		assert.Equal(t, busy, state)
		require.NoError(t, l.end(t.Context(), &a, released))
		state, a = begin(signature.Verified{}, "x")
		require.Equal(t, claimed, state, "it failed, and comes again")
		require.NoError(t, l.end(t.Context(), &a, done))
		<-time.After(23 * time.Hour)
		state, _ = begin(signature.Verified{}, "x")
		assert.Equal(t, duplicate, state)
	})
}

func TestRealmsAreApart(t *testing.T) {
	store := NewMemory(0)
	one, other := newLedger(store), newLedger(store)
	other.realm = "other"
	state, _ := one.try(t, 0, "body")
	require.Equal(t, claimed, state)
	state, _ = other.try(t, 0, "body")
	require.Equal(t, claimed, state)
	state, _ = one.try(t, 0, "body")
	assert.Equal(t, replayed, state)
}

// brokenStore answers what it is told.
type brokenStore struct {
	value []byte
	err   error
	swaps int
}

func (s *brokenStore) Get(context.Context, string) ([]byte, error) { return s.value, s.err }

func (s *brokenStore) Swap(context.Context, string, []byte, []byte, Keep) (bool, error) {
	s.swaps++
	return false, s.err
}

func TestWhatCannotBeRememberedIsUnclear(t *testing.T) {
	for name, c := range map[string]struct {
		store brokenStore
		want  error
	}{
		"a failure":           {brokenStore{err: context.DeadlineExceeded}, context.DeadlineExceeded},
		"nothing settles":     {brokenStore{}, errContest},
		"not JSON":            {brokenStore{value: []byte("x")}, errRecord},
		"an empty record":     {brokenStore{value: []byte("{}")}, errRecord},
		"an unknown phase":    {brokenStore{value: []byte(`{"p":9,"d":"x"}`)}, errRecord},
		"much too much":       {brokenStore{value: []byte(`{"p":1,"d":"` + strings.Repeat("x", maxRecord) + `"}`)}, errRecord},
		"nothing, and a fuss": {brokenStore{value: []byte{}}, errRecord},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(&c.store)
			a := l.attempt(signature.Verified{ID: "a", Time: time.Now()}, nil)
			state, _, err := l.begin(t.Context(), &a)
			assert.Equal(t, unclear, state)
			require.ErrorIs(t, err, c.want)
			assert.LessOrEqual(t, c.store.swaps, maxContest)
			a.stored = record{Phase: processing, Owner: a.owner, Digest: "x"}.encode()
			require.Error(t, l.end(t.Context(), &a, done))
		})
	}
}

func TestEveryStandingHasAWord(t *testing.T) {
	words := map[string]bool{}
	for s := unclear; s <= changed; s++ {
		words[s.String()] = true
	}
	assert.Len(t, words, 6)
}
