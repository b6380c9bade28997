package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/stream"
)

// idle is how long nothing may arrive before a run has failed.
const idle = 20 * time.Second

// arrivals is what the receivers know of the events from one number on. An event that comes twice counts once.
type arrivals struct {
	first int
	seen  []atomic.Bool
	count atomic.Int64
	last  atomic.Int64 // when something came, in nanoseconds since began
	began time.Time
	done  chan struct{}
	// on gets every event once.
	on func(index int)
}

func newArrivals(first, n int, on func(index int)) *arrivals {
	return &arrivals{first: first, seen: make([]atomic.Bool, n), began: time.Now(), done: make(chan struct{}), on: on}
}

func (a *arrivals) note(number int) {
	index := number - a.first
	if index < 0 || index >= len(a.seen) || a.seen[index].Swap(true) {
		return
	}
	a.on(index)
	a.last.Store(int64(time.Since(a.began)))
	if int(a.count.Add(1)) == len(a.seen) {
		close(a.done)
	}
}

// wait returns when every event has come.
func (a *arrivals) wait(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-a.done:
			return nil
		case <-tick.C:
			if time.Since(a.began)-time.Duration(a.last.Load()) > idle {
				return fmt.Errorf("%d of %d events have arrived, and none for %s", a.count.Load(), len(a.seen), idle)
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for the events: %w", ctx.Err())
		}
	}
}

// publish hands event number n to the broker, as an instrumented producer does, and returns the promise of its ack.
func (p *pipeline) publish(ctx context.Context, n int) (jetstream.PubAckFuture, error) {
	msg := p.load.message(n)
	ctx, span := p.tracer.Start(ctx, "publish "+eventType(n), trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	for name, value := range carrier {
		msg.Header[name] = []string{value}
	}
	future, err := p.js.PublishMsgAsync(msg, jetstream.WithStallWait(idle))
	if err != nil {
		return nil, fmt.Errorf("publish event %d: %w", n, err)
	}
	return future, nil
}

// acknowledged waits for every promise.
func acknowledged(ctx context.Context, futures []jetstream.PubAckFuture) error {
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return fmt.Errorf("publish: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("publish: %w", ctx.Err())
		}
	}
	return nil
}

// burst carries n events through as fast as it goes, and returns when nothing of them is left to do.
func (p *pipeline) burst(ctx context.Context, n int) error {
	before, err := p.receipts(ctx)
	if err != nil {
		return err
	}
	room := make(chan struct{}, p.window)
	a := newArrivals(p.next, n, func(int) { <-room })
	p.fleet.watch(a.note)
	defer p.fleet.watch(func(int) {})
	futures := make([]jetstream.PubAckFuture, 0, n)
	for range n {
		select {
		case room <- struct{}{}:
		default:
			if err := p.full(ctx, room); err != nil {
				return err
			}
		}
		future, err := p.publish(ctx, p.next)
		if err != nil {
			return err
		}
		p.next++
		futures = append(futures, future)
	}
	if err := acknowledged(ctx, futures); err != nil {
		return err
	}
	if err := a.wait(ctx); err != nil {
		return err
	}
	return p.settled(ctx, before+uint64(n))
}

// full waits for room in the window.
func (p *pipeline) full(ctx context.Context, room chan struct{}) error {
	timeout := time.NewTimer(idle)
	defer timeout.Stop()
	select {
	case room <- struct{}{}:
		return nil
	case <-timeout.C:
		return fmt.Errorf("%d events are under way, and none has arrived for %s", p.window, idle)
	case <-ctx.Done():
		return fmt.Errorf("publish: %w", ctx.Err())
	}
}

// receipts is the sequence of the newest receipt.
func (p *pipeline) receipts(ctx context.Context) (uint64, error) {
	s, err := p.js.Stream(ctx, stream.Receipts)
	if err != nil {
		return 0, fmt.Errorf("look at the receipts: %w", err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

// settled waits until so many receipts are stored and no delivery is left.
func (p *pipeline) settled(ctx context.Context, receipts uint64) error {
	return wait(ctx, idle, "the broker still holds deliveries", func() (bool, error) {
		stored, err := p.receipts(ctx)
		if err != nil || stored < receipts {
			return false, err
		}
		s, err := p.js.Stream(ctx, stream.Deliveries)
		if err != nil {
			return false, fmt.Errorf("look at the deliveries: %w", err)
		}
		return s.CachedInfo().State.Msgs == 0, nil
	})
}
