package dispatcher

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

func message(name string) *held {
	return &held{signed: stream.Signed{Delivery: delivery.Delivery{Endpoint: endpoint.Key{Tenant: "acme", Name: name}}}}
}

// fill offers messages of one endpoint until its lane is full, and tells how many it took and its lane.
func fill(l *lanes, name string, limit int, now time.Time) (taken int, opened *lane) {
	for taken <= l.most && l.offer(message(name), terms{limit: limit}, now, func(at *lane) { opened = at }) {
		taken++
	}
	return taken, opened
}

func TestALaneHoldsWhatItsEndpointCanTakeSoon(t *testing.T) {
	now := time.Now()
	key := endpoint.Key{Tenant: "acme", Name: "a"}
	l := lanes{most: 10_000, bytes: 1 << 30}
	unknown, at := fill(&l, "a", 4, now)
	assert.InDelta(t, 4+int(laneTime*4/firstLatency), unknown, 4, "an endpoint that is not known yet")

	for range 100 {
		require.NotNil(t, l.next(key, at, time.Millisecond, now))
	}
	assert.Greater(t, at.room(now, l.most), 4*unknown, "a fast one may queue more")
	for range 100 {
		at.latency += (10*time.Second - at.latency) / 8
	}
	assert.Equal(t, 4, at.room(now, l.most), "a slow one no more than it works on")
}

func TestAHangingLaneGivesItsSlotsBack(t *testing.T) {
	now := time.Now()
	l := lanes{most: 10_000, bytes: 1 << 30}
	taken, _ := fill(&l, "a", 4, now)
	assert.Empty(t, l.trim(now), "not at once")
	later := now.Add(10 * time.Second)
	assert.Len(t, l.trim(later), taken, "nothing has come back for ten seconds: whatever waits goes")
	assert.Empty(t, l.trim(later))
}

func TestALaneGoesWhenItIsEmpty(t *testing.T) {
	now := time.Now()
	key := endpoint.Key{Tenant: "acme", Name: "a"}
	l := lanes{most: 10, bytes: 1 << 30}
	var at *lane
	require.True(t, l.offer(message("a"), terms{limit: 2}, now, func(opened *lane) { at = opened }))
	require.NotNil(t, l.next(key, at, 0, now))
	assert.Equal(t, 1, l.count())
	assert.Nil(t, l.next(key, at, time.Millisecond, now))
	assert.Zero(t, l.count())
}

func TestALaneWorksWithinItsConcurrency(t *testing.T) {
	now := time.Now()
	l := lanes{most: 100, bytes: 1 << 30}
	workers := 0
	for range 10 {
		l.offer(message("a"), terms{limit: 3}, now, func(*lane) { workers++ })
	}
	assert.Equal(t, 3, workers)
}

func TestTheLedgerKnowsWhatIsDone(t *testing.T) {
	l := newLedger(8)
	first := delivery.Delivery{ID: "msg_1", Attempt: 1}
	second := delivery.Delivery{ID: "msg_1", Attempt: 2}
	assert.Equal(t, fresh, l.begin(first))
	assert.Equal(t, busy, l.begin(first), "under way")
	l.end(first, false)
	assert.Equal(t, fresh, l.begin(first), "given up, so it may begin again")
	l.end(first, true)
	assert.Equal(t, finished, l.begin(first))
	assert.Equal(t, fresh, l.begin(second), "the next attempt is another matter")
	l.end(second, true)
	assert.Equal(t, finished, l.begin(first), "an attempt before the last is over, too")
}

func TestTheLedgerIsBounded(t *testing.T) {
	l := newLedger(100)
	for i := range 10_000 {
		d := delivery.Delivery{ID: delivery.ID(string(rune('a'+i%26)) + time.Duration(i).String()), Attempt: 1}
		require.Equal(t, fresh, l.begin(d))
		l.end(d, true)
		assert.Equal(t, finished, l.begin(d), "the last ones are remembered")
	}
	assert.LessOrEqual(t, len(l.young)+len(l.old), 100)
	assert.Empty(t, l.underway)
}

func TestLanesAreBoundedInBytes(t *testing.T) {
	now := time.Now()
	l := lanes{most: 10_000, bytes: 1000}
	large := func(name string) *held {
		h := message(name)
		h.signed.Body = make([]byte, 400)
		return h
	}
	var at *lane
	require.True(t, l.offer(large("a"), terms{limit: 1}, now, func(opened *lane) { at = opened }))
	require.True(t, l.offer(large("b"), terms{limit: 1}, now, func(*lane) {}))
	assert.False(t, l.offer(large("c"), terms{limit: 1}, now, func(*lane) {}), "three are more than 1000 bytes")
	require.NotNil(t, l.next(endpoint.Key{Tenant: "acme", Name: "a"}, at, 0, now))
	assert.True(t, l.offer(large("c"), terms{limit: 1}, now, func(*lane) {}), "one has gone")
}

// TestReceiversThatHangAreHeldShortInACrowd: what is not known to answer soon gets one request at a time when much is held
// already, and little room after a second.
func TestReceiversThatHangAreHeldShortInACrowd(t *testing.T) {
	now := time.Now()
	l := lanes{most: 400, bytes: 1 << 30}
	_, _ = fill(&l, "flood", 4, now)
	require.True(t, l.crowded())
	workers := 0
	offer := func(name string, at time.Time) bool {
		return l.offer(message(name), terms{limit: 4}, at, func(*lane) { workers++ })
	}
	for range 3 {
		require.True(t, offer("unknown", now))
	}
	assert.Equal(t, 1, workers, "one shows whether it answers")
	later := now.Add(2 * time.Second)
	assert.False(t, offer("unknown", later), "it has not")
	held := l.held
	out := len(l.trim(later))
	assert.False(t, l.crowded(), "what waits behind those that do not answer goes")
	assert.Equal(t, held-out, l.held)

	key := endpoint.Key{Tenant: "acme", Name: "quick"}
	var at *lane
	require.True(t, l.offer(message("quick"), terms{limit: 4}, later, func(opened *lane) { at = opened }))
	require.NotNil(t, l.next(key, at, 0, later))
	require.Nil(t, l.next(key, at, time.Millisecond, later))
	_, _ = fill(&l, "flood", 100, later)
	l.held = l.most
	workers = 0
	for range 4 {
		require.True(t, offer("quick", later))
	}
	assert.Equal(t, 4, workers, "it is remembered as one that answers soon")
}

func TestOneEndpointSettlesSoManyBesideItsLane(t *testing.T) {
	var s settling
	a, b := endpoint.Key{Tenant: "acme", Name: "a"}, endpoint.Key{Tenant: "acme", Name: "b"}
	for range maxSettling {
		require.True(t, s.begin(a))
	}
	assert.False(t, s.begin(a))
	assert.True(t, s.begin(b), "another one is not concerned")
	s.end(a)
	assert.True(t, s.begin(a))
	for range maxSettling {
		s.end(a)
	}
	s.end(b)
	assert.Empty(t, s.count)
}
