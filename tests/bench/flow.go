package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// flow carries events through without a break until it is stopped, so that a window of time can be looked at whose end
// nobody knows beforehand.
type flow struct {
	p *pipeline
	// rate is how many events are published in a second; 0 stands for as many as the window lets through.
	rate    int
	began   time.Time
	first   int // the number of its first event
	before  uint64
	room    chan struct{} // nil with a rate
	futures chan jetstream.PubAckFuture
	halt    chan struct{}
	cancel  context.CancelCauseFunc
	group   sync.WaitGroup

	mu     sync.Mutex
	under  map[int]time.Duration // what has been published and has not arrived, and when
	passed []passage
}

// passage is one event's way: when it was published and when it arrived, since the flow began.
type passage struct{ published, arrived time.Duration }

// span is a window of time, since the flow began.
type span struct{ from, to time.Duration }

func (w span) holds(at time.Duration) bool { return at >= w.from && at < w.to }

// within tells whether a time is in one of the windows.
func within(at time.Duration, windows []span) bool {
	return slices.ContainsFunc(windows, func(w span) bool { return w.holds(at) })
}

// throughput is how many events arrived within the windows, a second.
func throughput(all []passage, windows ...span) float64 {
	n, length := 0, time.Duration(0)
	for _, e := range all {
		if within(e.arrived, windows) {
			n++
		}
	}
	for _, w := range windows {
		length += w.to - w.from
	}
	return float64(n) / length.Seconds()
}

// latencies are those of the events that were published within the windows, in milliseconds.
func latencies(all []passage, windows ...span) []float64 {
	var took []float64
	for _, e := range all {
		if within(e.published, windows) {
			took = append(took, float64((e.arrived-e.published).Microseconds())/1e3)
		}
	}
	return took
}

// open starts a flow. Nothing else may publish until it is stopped. The context that it returns ends when the flow
// fails, and its cause says why.
func (p *pipeline) open(ctx context.Context, rate int) (*flow, context.Context, error) {
	before, err := p.receipts(ctx)
	if err != nil {
		return nil, nil, err
	}
	f := &flow{
		p: p, rate: rate, began: time.Now(), first: p.next, before: before,
		futures: make(chan jetstream.PubAckFuture, p.window), halt: make(chan struct{}), under: make(map[int]time.Duration, p.window),
	}
	if rate == 0 {
		f.room = make(chan struct{}, p.window)
	}
	p.fleet.watch(f.note)
	ctx, f.cancel = context.WithCancelCause(ctx)
	f.group.Go(func() {
		defer close(f.futures)
		f.fail(f.pour(ctx))
	})
	f.group.Go(func() {
		for future := range f.futures {
			f.fail(acknowledged(ctx, []jetstream.PubAckFuture{future}))
		}
	})
	return f, ctx, nil
}

// fail ends the flow with an error. Nil is none, and only the first counts.
func (f *flow) fail(err error) {
	if err != nil {
		f.cancel(err)
	}
}

// pour publishes until halt or the end of ctx.
func (f *flow) pour(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		select {
		case <-f.halt:
			return nil
		default:
		}
		if more, err := f.turn(ctx, timer, i); !more || err != nil {
			return err
		}
		f.mu.Lock()
		f.under[f.p.next] = time.Since(f.began)
		f.mu.Unlock()
		future, err := f.p.publish(ctx, f.p.next)
		if err != nil {
			return err
		}
		f.p.next++
		select {
		case f.futures <- future:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// turn waits until the next event may be published; more is false when none may be any more.
func (f *flow) turn(ctx context.Context, timer *time.Timer, i int) (more bool, err error) {
	if f.rate > 0 {
		// Absolute times, so that a late timer does not lower the rate.
		timer.Reset(time.Until(f.began.Add(time.Duration(i) * time.Second / time.Duration(f.rate))))
		select {
		case <-timer.C:
			return true, nil
		case <-f.halt:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	select {
	case f.room <- struct{}{}:
		return true, nil
	default:
	}
	timer.Reset(idle)
	select {
	case f.room <- struct{}{}:
		return true, nil
	case <-f.halt:
		return false, nil
	case <-timer.C:
		return false, fmt.Errorf("%d events are under way, and none has arrived for %s", f.p.window, idle)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// note takes an arrival; a second one of the same event, or one of another run, counts for nothing.
func (f *flow) note(number int) {
	now := time.Since(f.began)
	f.mu.Lock()
	published, ok := f.under[number]
	if ok {
		delete(f.under, number)
		f.passed = append(f.passed, passage{published: published, arrived: now})
	}
	f.mu.Unlock()
	if ok && f.room != nil {
		<-f.room
	}
}

// pause lets the flow run on for so long, and returns the window that this was.
func (f *flow) pause(ctx context.Context, length time.Duration) (span, error) {
	from := time.Since(f.began)
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return span{from: from, to: time.Since(f.began)}, nil
	case <-ctx.Done():
		return span{}, context.Cause(ctx)
	}
}

// stop ends the flow once everything of it has arrived and nothing of it is left to do, and tells the way of every event.
func (f *flow) stop(ctx context.Context) ([]passage, error) {
	defer f.p.fleet.watch(func(int) {})
	close(f.halt)
	f.group.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	n := f.p.next - f.first
	if err := wait(ctx, 10*idle, "events have not arrived", f.emptied(n)); err != nil {
		return nil, err
	}
	if err := f.p.settled(ctx, f.before+uint64(n)); err != nil {
		return nil, err
	}
	// A failure may have many causes, but a rotation must not be one.
	if stored, err := f.p.receipts(ctx); err == nil && stored > f.before+uint64(n) {
		f.p.logger.WarnContext(ctx, "attempts failed while rotations were measured", slog.Uint64("attempts", stored-f.before-uint64(n)))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passed, nil
}

// emptied tells whether all n events have arrived; its error is that nothing more comes.
func (f *flow) emptied(n int) func() (bool, error) {
	left, since := n, time.Now()
	return func() (bool, error) {
		f.mu.Lock()
		now := len(f.under)
		f.mu.Unlock()
		if now != left {
			left, since = now, time.Now()
		}
		if left > 0 && time.Since(since) > idle {
			return false, fmt.Errorf("%d of %d events have arrived, and none for %s", n-left, n, idle)
		}
		return left == 0, nil
	}
}
