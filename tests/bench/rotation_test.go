package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A rotation that the dispatcher cannot carry out must fail the run, and not count as one that cost nothing.
func TestRotationThatIsNone(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole pipeline")
	}
	f, err := openFleet(false, false)
	require.NoError(t, err)
	defer f.close()
	p, err := startPipeline(t.Context(), t.TempDir(), f, settings{window: 50, rotations: 1, probes: 200}, usual(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { assert.NoError(t, p.stop(t.Context())) }()

	require.NoError(t, p.turnover.forward(t.Context()), "next-1 is one of its identities")
	require.NoError(t, p.turnover.back(t.Context()))
	var w windows
	silent := &flow{p: p, began: time.Now()}
	require.ErrorIs(t, silent.rotate(t.Context(), &w), errNotRotated, "nobody publishes, so nobody presents next-2")
	require.NoError(t, p.turnover.back(t.Context()))
	p.turnover.used = p.successors
	require.ErrorContains(t, silent.rotate(t.Context(), &w), "next-4: this dispatcher has no usable identity")
	assert.Empty(t, w.turning)
}

// What ends a load early is what the run ends with.
func TestFlowTellsItsFailure(t *testing.T) {
	cause := errors.New("the broker has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &flow{p: &pipeline{fleet: &fleet{}}, began: time.Now(), halt: make(chan struct{}), cancel: cancel}
	f.fail(nil)
	require.NoError(t, ctx.Err())
	f.fail(cause)
	f.fail(errors.New("another"))
	_, err := f.pause(ctx, time.Hour)
	require.ErrorIs(t, err, cause)
	_, err = f.stop(ctx)
	assert.ErrorIs(t, err, cause)
}

// Throughput counts what arrives within a window, and latency what is published within it.
func TestSpan(t *testing.T) {
	at := func(published, arrived int) passage {
		return passage{published: time.Duration(published) * time.Millisecond, arrived: time.Duration(arrived) * time.Millisecond}
	}
	all := []passage{at(50, 100), at(99, 101), at(100, 300), at(150, 151), at(199, 200), at(200, 201)}
	window := span{from: 100 * time.Millisecond, to: 200 * time.Millisecond}
	assert.InDelta(t, 30, throughput(all, window), 1e-9, "three in a tenth of a second")
	assert.Equal(t, []float64{200, 1, 1}, latencies(all, window))
	later := span{from: 300 * time.Millisecond, to: 400 * time.Millisecond}
	assert.InDelta(t, 20, throughput(all, window, later), 1e-9, "four in two tenths of a second")
	assert.Equal(t, []float64{200, 1, 1}, latencies(all, later, window))
}

// A machine that slows down steadily must not change the ratio.
func TestRatio(t *testing.T) {
	second := func(n int) span {
		return span{from: time.Duration(n) * time.Second, to: time.Duration(n+1) * time.Second}
	}
	w := windows{quiet: []span{second(0), second(2), second(4), second(6)}, turning: []span{second(1), second(3), second(5)}}
	slowing := func(all ...span) float64 {
		sum := 0.0
		for _, s := range all {
			sum += 100 - s.from.Seconds()
		}
		return sum / float64(len(all))
	}
	ratio, err := w.ratio(slowing)
	require.NoError(t, err)
	assert.InDelta(t, 1, ratio, 0)

	dearer := func(all ...span) float64 {
		if len(all) == 1 {
			return slowing(all...) * 0.8
		}
		return slowing(all...)
	}
	ratio, err = w.ratio(dearer)
	require.NoError(t, err)
	assert.InDelta(t, 0.8, ratio, 0)

	for name, empty := range map[string]int{"turning": 1, "quiet": 2} {
		_, err = w.ratio(func(all ...span) float64 {
			if len(all) == empty {
				return 0
			}
			return 1
		})
		require.ErrorIs(t, err, errNothingCame, "nothing in the %s windows", name)
	}
	assert.Equal(t, []float64{1, 1, 1}, w.seconds())
}

// An event that comes twice, or belongs to another run, must neither count nor make room.
func TestFlowArrivals(t *testing.T) {
	f := &flow{began: time.Now(), room: make(chan struct{}, 3), under: map[int]time.Duration{10: 1, 11: 2}}
	for range 3 {
		f.room <- struct{}{}
	}
	for _, number := range []int{9, 10, 10, 12} {
		f.note(number)
	}
	assert.Len(t, f.passed, 1)
	assert.Equal(t, time.Duration(1), f.passed[0].published)
	assert.Len(t, f.room, 2)
	f.note(11)
	assert.Len(t, f.room, 1)
	empty, err := f.emptied(2)()
	require.NoError(t, err)
	assert.True(t, empty)
}
