package stream_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// preload puts n messages into the partition of orders.
func preload(t *testing.T, b *broker, n int) {
	t.Helper()
	p := publisher(t, b.nc)
	pending := make([]stream.Pending, n)
	for i := range pending {
		pending[i] = p.Send(message("deliveries.1.acme.orders", "{}"), "")
	}
	for i := range pending {
		_, err := pending[i].Wait(t.Context())
		require.NoError(t, err)
	}
}

// pulling is a loop on the partition of orders with rank 0.
func pulling(t *testing.T, b *broker, slots *stream.Slots, handle func(jetstream.Msg)) *stream.Loop {
	t.Helper()
	return &stream.Loop{
		Consumer: b.consumer(t, stream.Deliveries, stream.PartitionConsumer(1)), Slots: slots, Batch: 64, Handle: handle, Logger: quiet(),
		Priority: func() int { return 0 }, Wake: func() <-chan struct{} { return nil },
	}
}

// running is a loop that runs until stop, which waits for its end.
func running(loop *stream.Loop) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		loop.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// TestAPreloadedStreamDrainsWithoutAPause is the test that Consume of nats.go v1.55.0 fails in about a third of its
// rounds. Real time, because a stall is a race of real goroutines.
func TestAPreloadedStreamDrainsWithoutAPause(t *testing.T) {
	rounds, messages := 3, 20_000
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			b, _ := applied(t)
			preload(t, b, messages)
			slots := stream.NewSlots(512)
			var mu sync.Mutex
			last, worst, handled := time.Now(), time.Duration(0), 0
			drained := make(chan struct{})
			handle := func(msg jetstream.Msg) {
				defer slots.Release(1)
				ack(t, msg)
				mu.Lock()
				defer mu.Unlock()
				now := time.Now()
				worst, last = max(worst, now.Sub(last)), now
				handled++
				if handled == messages {
					close(drained)
				}
			}
			// Two side by side hide the turn-around of a batch.
			defer running(pulling(t, b, slots, handle))()
			defer running(pulling(t, b, slots, handle))()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for done := false; !done; {
				select {
				case <-drained:
					done = true
				case <-tick.C:
				}
				mu.Lock()
				stalled, so := max(worst, time.Since(last)), handled
				mu.Unlock()
				require.Less(t, stalled, time.Second, "no progress after %d of %d messages", so, messages)
			}
			mu.Lock()
			defer mu.Unlock()
			assert.Equal(t, messages, handled, "none came twice")
		})
	}
}

// TestAStoppingLoopGivesTheRestBack stops in the middle of a full stream, many times: whoever comes next must get every
// message at once, and not those that were on their way only after AckWait.
func TestAStoppingLoopGivesTheRestBack(t *testing.T) {
	t.Parallel()
	const messages, capacity, rounds = 3000, 200, 8
	b, _ := applied(t)
	preload(t, b, messages)
	var acked, given atomic.Int64
	for range rounds {
		slots := stream.NewSlots(capacity)
		var stopping atomic.Bool
		enough := make(chan struct{})
		var here atomic.Int64
		stop := running(pulling(t, b, slots, func(msg jetstream.Msg) {
			defer slots.Release(1)
			if stopping.Load() {
				given.Add(1)
				if err := msg.Nak(); err != nil {
					t.Error(err)
				}
				return
			}
			acked.Add(1)
			ack(t, msg)
			if here.Add(1) == 100 {
				close(enough)
			}
		}))
		<-enough
		stopping.Store(true)
		began := time.Now()
		stop()
		assert.Less(t, time.Since(began), time.Second)
		n, err := slots.Reserve(t.Context(), capacity)
		require.NoError(t, err)
		assert.Equal(t, capacity, n, "every slot is back")
	}
	slots := stream.NewSlots(capacity)
	drained := make(chan struct{})
	stop := running(pulling(t, b, slots, func(msg jetstream.Msg) {
		defer slots.Release(1)
		ack(t, msg)
		if acked.Add(1) == messages {
			close(drained)
		}
	}))
	select {
	case <-drained:
	case <-time.After(30 * time.Second):
		t.Errorf("%d messages are lost until AckWait", messages-acked.Load())
	}
	stop()
	t.Logf("%d were given back", given.Load())
}

func TestALoopHoldsNoMoreThanItsSlots(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		preload(t, b, 100)
		slots := stream.NewSlots(10)
		var held []jetstream.Msg
		stop := running(pulling(t, b, slots, func(msg jetstream.Msg) { held = append(held, msg) }))
		pass(30 * time.Second)
		require.Len(t, held, 10, "the rest stays with the broker")
		for range 3 {
			require.NoError(t, held[0].Ack())
			held = held[1:]
		}
		slots.Release(3) // from here on the loop adds to them
		pass(time.Second)
		assert.Len(t, held, 10)
		stop()
	})
}

func TestAnIdleLoopHasItsSlotsForOthers(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		slots := stream.NewSlots(100)
		stop := running(pulling(t, b, slots, func(jetstream.Msg) {}))
		pass(time.Minute)
		n, err := slots.Reserve(t.Context(), 100)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, n, 32, "a waiting pull keeps its batch of 64 and no more")
		slots.Release(n)
		stop()
		n, err = slots.Reserve(t.Context(), 100)
		require.NoError(t, err)
		assert.Equal(t, 100, n)
	})
}

// TestARankDecidesWhoIsServed has two loops with ranks that change.
func TestARankDecidesWhoIsServed(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		var got [2]atomic.Int64
		var ranks [2]atomic.Int64
		ranks[1].Store(1)
		var mu sync.Mutex
		changed := make(chan struct{})
		for i := range got {
			slots := stream.NewSlots(1000)
			loop := pulling(t, b, slots, func(msg jetstream.Msg) {
				got[i].Add(1)
				slots.Release(1)
				ack(t, msg)
			})
			loop.Priority = func() int { return int(ranks[i].Load()) }
			loop.Wake = func() <-chan struct{} {
				mu.Lock()
				defer mu.Unlock()
				return changed
			}
			t.Cleanup(running(loop))
		}
		serve := func(want0, want1 int64) {
			t.Helper()
			before0, before1 := got[0].Load(), got[1].Load()
			preload(t, b, 20)
			pass(time.Second)
			assert.Equal(t, want0, got[0].Load()-before0)
			assert.Equal(t, want1, got[1].Load()-before1)
		}
		set := func(a, b int64) {
			ranks[0].Store(a)
			ranks[1].Store(b)
			mu.Lock()
			close(changed)
			changed = make(chan struct{})
			mu.Unlock()
			pass(time.Minute) // pulls with the old rank have come to their end
		}
		pass(time.Second)
		serve(20, 0)
		set(2, 0)
		serve(0, 20)
		set(-1, 1)
		serve(0, 20)
		set(0, -1)
		serve(20, 0)
		set(-1, -1)
		serve(0, 0)
		ranks[1].Store(0)
		mu.Lock()
		close(changed)
		changed = make(chan struct{})
		mu.Unlock()
		pass(time.Second)
		assert.Zero(t, b.count(t, stream.Deliveries), "whoever was idle is woken at once")
	})
}
