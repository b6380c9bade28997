package dispatcher

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/telemetry"
)

var propagator = propagation.TraceContext{}

// accept takes one message from a fetch loop. It must not block.
func (d *Dispatcher) accept(msg jetstream.Msg) {
	if d.stopping.Load() {
		d.giveBack(msg, 0)
		d.slots.Release(1)
		return
	}
	signed, err := stream.ParseSigned(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		d.crew.Do(func() { d.refuse(msg, err) })
		return
	}
	h := &held{msg: msg, signed: signed, again: 1}
	if meta, err := msg.Metadata(); err == nil {
		h.again = meta.NumDelivered
	}
	d.holding.add(h)
	on := terms{limit: defaultConcurrency}
	if to, ok := d.endpoints.Get(signed.Delivery.Endpoint); ok {
		on.limit = to.Limits.Concurrency
		if rate := to.Rate(); rate > 0 {
			on.every = interval(rate)
		}
		if on.every > 0 && signed.Delivery.Resigned == 0 && d.paces.queued(to.Key(), time.Now()) {
			d.crew.Do(func() { d.overflow(h) }) // behind those that came before
			return
		}
	}
	if !d.lanes.offer(h, on, time.Now(), func(at *lane) { d.crew.Do(func() { d.work(h.signed.Delivery.Endpoint, at) }) }) {
		d.crew.Do(func() { d.overflow(h) })
	}
}

// defaultConcurrency serves an endpoint that is not known yet.
const defaultConcurrency = 8

// work sends one endpoint's messages one after the other.
func (d *Dispatcher) work(key endpoint.Key, at *lane) {
	var took time.Duration
	for {
		began := time.Now()
		h := d.lanes.next(key, at, took, began)
		if h == nil {
			return
		}
		d.attempt(d.life, h)
		took = max(time.Since(began), 1)
	}
}

// release ends the responsibility for a message.
func (d *Dispatcher) release(h *held) {
	d.holding.remove(h)
	d.slots.Release(1)
}

func (d *Dispatcher) giveBack(msg jetstream.Msg, after time.Duration) {
	if err := msg.NakWithDelay(after); err != nil {
		d.logger.Warn("could not give a delivery back; it comes again by itself", slog.Any("error", err))
	}
}

// attempt carries one message to its verdict and hands it on to be settled.
func (d *Dispatcher) attempt(ctx context.Context, h *held) {
	del := h.signed.Delivery
	if d.stopping.Load() {
		d.giveBack(h.msg, 0)
		d.release(h)
		return
	}
	switch d.ledger.begin(del) {
	case finished:
		d.swallow(ctx, h, "finished here")
		return
	case busy:
		d.meters.repeats.Add(ctx, 1)
		d.giveBack(h.msg, time.Second)
		d.release(h)
		return
	case fresh:
	}
	if h.again > 1 && d.movedOn(ctx, h) {
		d.ledger.end(del, false)
		d.swallow(ctx, h, "scheduled before")
		return
	}
	if !d.await(ctx, h) {
		return
	}
	ctx = propagator.Extract(ctx, propagation.MapCarrier{"traceparent": h.signed.Trace, "tracestate": h.signed.TraceState})
	ctx, span := d.span(ctx, h)
	r := &result{held: h, began: time.Now()}
	r.to, r.known = d.endpoint(ctx, del.Endpoint, r)
	if r.known {
		d.send(ctx, r)
	}
	r.took = time.Since(r.began)
	if r.known {
		d.fallBack(ctx, r)
		d.reconsider(ctx, r)
		d.throttle(r)
	}
	d.judge(ctx, span, r)
	if r.known && r.verdict.Outcome == delivery.Gone {
		// Known here before it is stored: what is queued behind this one must not be sent any more.
		d.endpoints.UpdateStatus(del.Endpoint, func(s *endpoint.Status) { s.Disabled = r.goneSince() })
	}
	if r.known {
		d.learn(ctx, r)
	}
	settle := func() {
		defer d.release(h)
		defer span.End()
		d.settle(ctx, r)
	}
	if !d.settling.begin(del.Endpoint) {
		settle() // and its lane waits for it
		return
	}
	// The lane is free for its next request while this one is settled; the slot is not.
	d.crew.Do(func() {
		defer d.settling.end(del.Endpoint)
		settle()
	})
}

// swallow acks a message whose work has been done before.
func (d *Dispatcher) swallow(ctx context.Context, h *held, why string) {
	d.meters.repeats.Add(ctx, 1)
	d.logger.DebugContext(ctx, "delivery came again and is not sent again", slog.String("delivery", string(h.signed.Delivery.ID)), slog.String("why", why))
	if err := h.msg.Ack(); err != nil {
		d.logger.WarnContext(ctx, "could not acknowledge", slog.Any("error", err))
	}
	d.release(h)
}

// movedOn reports whether a message that is handed out again has a successor: a dispatcher scheduled it and went down
// before its ack. Sending it would put the delivery in two places.
func (d *Dispatcher) movedOn(ctx context.Context, h *held) bool {
	del := h.signed.Delivery
	data, found, err := d.topology.Scheduled(ctx, d.retries, stream.ScheduleSubject(del.Endpoint, del.ID, d.topology.Partitions))
	if err != nil || !found {
		return false // at least once: when in doubt, send
	}
	record, err := delivery.ParseRetry(data)
	if err != nil {
		return false
	}
	return record.Attempt > del.Attempt || (record.Attempt == del.Attempt && record.Resigned > del.Resigned)
}

// span opens the span of an attempt. Where the caller has decided not to record, nothing is built that nobody will see.
func (d *Dispatcher) span(ctx context.Context, h *held) (context.Context, trace.Span) {
	if telemetry.Unrecorded(ctx) {
		return ctx, trace.SpanFromContext(ctx)
	}
	return d.tracer.Start(ctx, "deliver "+h.signed.Delivery.Endpoint.String(), d.spanOptions(h)...) //nolint:spancheck // ended by the caller
}

func (d *Dispatcher) spanOptions(h *held) []trace.SpanStartOption {
	del := h.signed.Delivery
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "process"),
		attribute.String("handfast.delivery", string(del.ID)), attribute.Int("handfast.attempt", del.Attempt),
		attribute.String("handfast.endpoint", del.Endpoint.String()), attribute.String("cloudevents.event_type", h.signed.Type),
		attribute.String("cloudevents.event_id", h.signed.ID),
		attribute.Float64("handfast.signature.age", time.Since(h.signed.SignedAt).Seconds()),
		attribute.String("handfast.dispatcher", d.config.ID))}
	if h.signed.Previous != "" {
		before := trace.SpanContextFromContext(propagator.Extract(context.Background(), propagation.MapCarrier{"traceparent": h.signed.Previous}))
		options = append(options, trace.WithLinks(trace.Link{SpanContext: before, Attributes: []attribute.KeyValue{attribute.String("handfast.link", "attempt before")}}))
	}
	return options
}

// endpoint finds where a delivery goes; when it may not go anywhere, the verdict is set.
func (d *Dispatcher) endpoint(ctx context.Context, key endpoint.Key, r *result) (endpoint.Registered, bool) {
	to, ok := d.endpoints.Get(key)
	if !ok {
		var err error
		to, err = d.catalogue.Lookup(ctx, key)
		switch {
		case errors.Is(err, stream.ErrNoEndpoint):
			r.verdict = ours(delivery.Gone, "endpoint "+key.String()+" has been deleted", "")
			return to, false
		case err != nil:
			r.verdict = ours(delivery.LaneFull, "endpoint "+key.String()+" could not be read: "+err.Error(), "")
			return to, false
		}
	}
	if to.Waiting() {
		r.waits = true
		r.verdict = ours(delivery.LaneFull, "endpoint "+key.String()+" is paused", "")
		if held := to.Status.Held; held != nil {
			r.verdict.Detail = "endpoint " + key.String() + " is held: " + held.Detail
		} else if !to.Activated() {
			r.verdict.Detail = "the receiver of endpoint " + key.String() + " has not agreed yet"
		}
		return to, false
	}
	if to.Disabled() {
		r.verdict = ours(delivery.Gone, "endpoint "+key.String()+" is disabled: "+to.Status.Disabled.Reason, "Apply its document again to enable it, then replay the dead letter")
		r.disabled = true
		return to, false
	}
	return to, true
}

// send makes the POST, unless the signature is too old or there is nobody to be.
func (d *Dispatcher) send(ctx context.Context, r *result) {
	signed, to := r.signed, r.to
	if age := r.began.Sub(signed.SignedAt); age > d.config.Freshness || age < -d.config.Freshness {
		r.verdict = ours(delivery.StaleSignature, "the signature is "+age.Round(time.Second).String()+" old", "")
		if age < 0 {
			d.logger.WarnContext(ctx, "a signature comes from the future: the clocks of signer and dispatcher differ", slog.Duration("by", -age))
		}
		return
	}
	name, source, failure := d.presenting.choose(to)
	if failure != nil {
		r.verdict = *failure
		return
	}
	r.presented = name
	target, failure := d.aim(to, source)
	if failure != nil {
		r.verdict = *failure
		return
	}
	ctx, cancel := context.WithTimeout(ctx, to.Limits.Timeout)
	defer cancel()
	response, err := d.pool.Do(ctx, target, &mtls.Request{
		Method: http.MethodPost, Path: path(to, signed.Query), Host: to.URL.Host, Header: marked(signed.Header, to.Activation), Body: signed.Body,
	})
	r.fill(target, response, err)
	acknowledge(to, response, &r.verdict)
}

// judge writes the verdict into the span and the metrics.
func (d *Dispatcher) judge(ctx context.Context, span trace.Span, r *result) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("handfast.outcome", r.verdict.Outcome.String()), attribute.String("handfast.origin", r.verdict.Origin.String()))
		if r.verdict.Outcome != delivery.Delivered {
			span.SetStatus(codes.Error, r.verdict.Detail)
		}
		if r.handshake.IsValid() && r.reused {
			span.AddLink(trace.Link{SpanContext: r.handshake, Attributes: []attribute.KeyValue{attribute.String("handfast.link", "handshake of the connection")}})
		}
	}
	outcome := d.meters.outcomes[r.verdict.Outcome]
	d.meters.attempts.Add(ctx, 1, outcome)
	d.meters.duration.Record(ctx, r.took.Seconds(), outcome)
	if r.verdict.Outcome == delivery.Delivered {
		d.meters.latency.Record(ctx, time.Since(r.signed.Delivery.First).Seconds())
	}
}
