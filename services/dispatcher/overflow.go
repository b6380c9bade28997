package dispatcher

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// overflow sends a message whose lane has no room the way of a retry that costs no attempt, so that it waits in the
// broker and not in the way of others.
func (d *Dispatcher) overflow(h *held) {
	defer d.release(h)
	r := &result{held: h, began: time.Now(), verdict: ours(delivery.LaneFull, "the lane of this endpoint is full", "")}
	r.verdict.RetryAfter = d.turnOf(h)
	ctx := propagator.Extract(d.life, propagation.MapCarrier{"traceparent": h.signed.Trace, "tracestate": h.signed.TraceState})
	ctx, span := d.span(ctx, h)
	defer span.End()
	if d.ledger.begin(h.signed.Delivery) != fresh {
		d.giveBack(h.msg, time.Second)
		return
	}
	d.judge(ctx, span, r)
	d.settle(ctx, r)
}

// later is overflow for a message that has been begun.
func (d *Dispatcher) later(ctx context.Context, h *held, wait time.Duration) {
	r := &result{held: h, began: time.Now(), verdict: ours(delivery.LaneFull, "its turn is later, by the rate that the receiver allows", "")}
	r.verdict.RetryAfter = wait
	d.crew.Do(func() {
		defer d.release(h)
		ctx := propagator.Extract(ctx, propagation.MapCarrier{"traceparent": h.signed.Trace, "tracestate": h.signed.TraceState})
		ctx, span := d.span(ctx, h)
		defer span.End()
		d.judge(ctx, span, r)
		d.settle(ctx, r)
	})
}

// refuse keeps a message that no signer of ours wrote, and goes on.
func (d *Dispatcher) refuse(msg jetstream.Msg, cause error) {
	defer d.slots.Release(1)
	ctx := d.life
	d.logger.ErrorContext(ctx, "foreign message among the deliveries", slog.String("subject", msg.Subject()), slog.Any("error", cause))
	id := "foreign-delivery"
	if meta, err := msg.Metadata(); err == nil {
		id += "-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	letter, err := delivery.DeadLetter{
		Subject: msg.Subject(), Reasons: []string{cause.Error()}, Header: map[string][]string(msg.Headers()), Body: delivery.NewBody(msg.Data()), At: time.Now().UTC(),
	}.Encode()
	if err == nil {
		_, err = d.publisher.Send(&nats.Msg{Subject: stream.DeadLetterSubject(endpoint.Key{}, id), Data: letter}, "").Wait(ctx)
	}
	if err != nil {
		d.logger.ErrorContext(ctx, "could not store a dead letter; trying again", slog.Any("error", err))
		d.giveBack(msg, 2*time.Second)
		return
	}
	if err := msg.Ack(); err != nil {
		d.logger.WarnContext(ctx, "could not acknowledge", slog.Any("error", err))
	}
}
