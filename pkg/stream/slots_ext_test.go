package stream_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

func TestSlotsAreTakenUpToWhatIsFree(t *testing.T) {
	t.Parallel()
	for _, each := range []struct{ free, most, least, taken int }{
		{10, 4, 4, 4},
		{10, 10, 10, 10},
		{10, 1, 1, 1},
		{1, 64, 1, 1},
		{10, 0, 1, 1},
		{10, -5, 1, 1},
		{64, 64, 64, 64},
		{10, 64, 5, 10},
		{63, 64, 32, 63}, // by halves: not always every last one, never more
	} {
		n, err := stream.NewSlots(each.free).Reserve(t.Context(), each.most)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, n, each.least, "%+v", each)
		assert.LessOrEqual(t, n, each.taken, "%+v", each)
	}
}

func TestReserveWaitsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := stream.NewSlots(2)
		n, err := slots.Reserve(t.Context(), 2)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		began := time.Now()
		time.AfterFunc(time.Minute, func() { slots.Release(1) })
		n, err = slots.Reserve(t.Context(), 2)
		require.NoError(t, err)
		assert.Equal(t, 1, n, "one is enough to go on")
		assert.Equal(t, time.Minute, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = slots.Reserve(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		slots.Release(0)
		slots.Release(-3)
		slots.Release(2)
		n, err = slots.Reserve(t.Context(), 2)
		require.NoError(t, err)
		assert.Equal(t, 2, n, "who gave up holds nothing")
	})
}

func TestSlotsAreNeverExceeded(t *testing.T) {
	t.Parallel()
	const most = 20
	slots := stream.NewSlots(most)
	var held, worst atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 2000 {
				n, err := slots.Reserve(t.Context(), 1+rand.IntN(16))
				if err != nil {
					t.Error(err)
					return
				}
				now := held.Add(int64(n))
				for before := worst.Load(); now > before && !worst.CompareAndSwap(before, now); before = worst.Load() {
				}
				held.Add(-int64(n))
				slots.Release(n)
			}
		})
	}
	group.Wait()
	assert.LessOrEqual(t, worst.Load(), int64(most))
	n, err := slots.Reserve(t.Context(), most)
	require.NoError(t, err)
	assert.Equal(t, most, n, "all of them came back")
}

func TestACrewDoesAllItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var crew stream.Crew
		var done atomic.Int64
		began := time.Now()
		for range 3 { // the second round finds spare hands
			for range 500 {
				crew.Do(func() {
					<-time.After(time.Second)
					done.Add(1)
				})
			}
			pass(2 * time.Second)
		}
		crew.Do(func() { <-time.After(time.Minute); done.Add(1) })
		crew.Wait()
		assert.EqualValues(t, 1501, done.Load())
		assert.Equal(t, 6*time.Second+time.Minute, time.Since(began), "nothing waited for a free hand, and Wait waits for all")
		// The bubble fails when a goroutine is left over.
	})
}

func TestACrewMayBeCalledFromItsOwnWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var crew stream.Crew
		var done atomic.Int64
		var descend func(depth int)
		descend = func(depth int) {
			done.Add(1)
			if depth > 0 {
				crew.Do(func() { descend(depth - 1) })
				crew.Do(func() { descend(depth - 1) })
			}
		}
		crew.Do(func() { descend(8) })
		crew.Wait()
		assert.EqualValues(t, 1<<9-1, done.Load())
	})
}
