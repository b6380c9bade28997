package dispatcher

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

func start() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

func TestTurnsAreNeverCloserThanTheRateAllows(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, rate := range []int{1, 7, 60, 120, 6000, 1_000_000} {
		var p paces
		key, now, every := endpoint.Key{Tenant: "acme", Name: "orders"}, start(), interval(rate)
		p.turns(1, func(int) bool { return true }, now)
		last := now
		for range 2000 {
			now = now.Add(time.Duration(random.Int64N(int64(2 * every))))
			wait, near := p.take(key, 0, rate, now)
			if !near {
				assert.LessOrEqual(t, wait, maxLine)
				continue
			}
			assert.LessOrEqual(t, wait, nearTurn)
			require.GreaterOrEqual(t, now.Add(wait).Sub(last), every, "%d a minute", rate)
			last = now.Add(wait)
		}
		assert.GreaterOrEqual(t, time.Duration(rate)*every, time.Minute, "no more than that in a minute")
	}
}

func TestAnIdlePaceSavesNothingUp(t *testing.T) {
	t.Parallel()
	var p paces
	key, now := endpoint.Key{Tenant: "acme", Name: "orders"}, start()
	p.turns(1, func(int) bool { return true }, now)
	now = now.Add(time.Hour)
	for i := range 3 {
		wait, near := p.take(key, 0, 60, now)
		assert.True(t, near)
		assert.Equal(t, time.Duration(i)*time.Second, wait, "the first at once, and no burst")
	}
}

func TestWhoBecomesFirstWaitsForOneInterval(t *testing.T) {
	t.Parallel()
	var p paces
	key, now, mine := endpoint.Key{Tenant: "acme", Name: "orders"}, start(), true
	owns := func(int) bool { return mine }
	wait, near := p.take(key, 0, 60, now) // before anything is known about the order
	assert.True(t, near)
	assert.Equal(t, time.Second, wait)
	now = now.Add(10 * time.Second)
	p.turns(1, owns, now)
	wait, _ = p.take(key, 0, 60, now)
	assert.Zero(t, wait, "it has been first all the time")
	mine = false
	p.turns(1, owns, now.Add(time.Minute))
	mine = true
	now = now.Add(2 * time.Minute)
	p.turns(1, owns, now)
	wait, _ = p.take(key, 0, 60, now.Add(300*time.Millisecond))
	assert.Equal(t, 700*time.Millisecond, wait, "another one may have sent at the last moment")
}

func TestAReceiverMayChangeItsRate(t *testing.T) {
	t.Parallel()
	var p paces
	key, now := endpoint.Key{Tenant: "acme", Name: "orders"}, start()
	p.turns(1, func(int) bool { return true }, now.Add(-time.Hour))
	wait, _ := p.take(key, 0, 60, now)
	assert.Zero(t, wait)
	wait, _ = p.take(key, 0, 12, now)
	assert.Equal(t, 5*time.Second, wait, "slower, counted from the last one")
	wait, _ = p.take(key, 0, 600, now.Add(5*time.Second))
	assert.Equal(t, 100*time.Millisecond, wait, "faster")
}

func TestTheLineIsShortEnoughForAChangeOfMind(t *testing.T) {
	t.Parallel()
	var p paces
	key, now := endpoint.Key{Tenant: "acme", Name: "orders"}, start()
	p.turns(1, func(int) bool { return true }, now.Add(-time.Hour))
	before := time.Duration(-1)
	places := 0
	for range 1000 {
		wait := p.book(key, 0, 1, 3, 8, now)
		require.LessOrEqual(t, wait, maxLine)
		if wait <= before {
			before = maxLine // no place any more
			require.GreaterOrEqual(t, wait, maxLine/2)
			continue
		}
		require.Greater(t, wait, before, "one after the other")
		before = wait
		places++
	}
	assert.InDelta(t, 60, places, 1)
	assert.True(t, p.queued(key, now))
	assert.False(t, p.queued(key, now.Add(maxLine+time.Minute)))
	assert.False(t, p.queued(endpoint.Key{Tenant: "acme", Name: "other"}, now))
}

func TestPacesDoNotGrow(t *testing.T) {
	t.Parallel()
	var p paces
	now := start()
	p.turns(1, func(int) bool { return true }, now.Add(-time.Hour))
	for i := range 10 * maxPaces {
		p.take(endpoint.Key{Tenant: "acme", Name: strconv.Itoa(i)}, 0, 60, now)
		now = now.Add(time.Millisecond)
	}
	assert.LessOrEqual(t, len(p.all), 2*maxPaces, "what has not been used for an interval is forgotten")
}

// TestManyPacesDoNotStopEachOther has more endpoints than are remembered without need, all of them at work.
func TestManyPacesDoNotStopEachOther(t *testing.T) {
	t.Parallel()
	var p paces
	now := start()
	p.turns(1, func(int) bool { return true }, now.Add(-time.Hour))
	const endpoints, rounds = maxPaces + maxPaces/4, 4
	sent := 0
	for range rounds {
		for i := range endpoints {
			if wait, near := p.take(endpoint.Key{Tenant: "acme", Name: strconv.Itoa(i)}, 0, 1, now); near && wait == 0 {
				sent++
			}
			now = now.Add(time.Minute/endpoints + 1)
		}
	}
	assert.Equal(t, endpoints*rounds, sent)
}

// TestWhoHasNoPlaceDoesNotComeBackWithAllTheOthers has very many messages come at once: when they come again, they stand
// in front of other endpoints' messages in their partition.
func TestWhoHasNoPlaceDoesNotComeBackWithAllTheOthers(t *testing.T) {
	t.Parallel()
	var p paces
	key, now := endpoint.Key{Tenant: "acme", Name: "orders"}, start()
	p.turns(1, func(int) bool { return true }, now.Add(-time.Hour))
	const messages = 10_000
	perMinute := map[time.Duration]int{}
	for range messages {
		wait := p.book(key, 0, 1, 0, 8, now)
		require.Less(t, wait, maxLine, "the line must not run empty before")
		perMinute[wait.Truncate(time.Minute)]++
	}
	for at, n := range perMinute {
		assert.Less(t, n, messages/15, "after %s", at)
	}
}
