package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/stream"
)

// receiptSize holds most receipts with their proof.
const receiptSize = 3 << 10

// fewTries is how often it is tried to store that nothing was sent, and that an endpoint is held. Then a message is better
// left to the broker, and a hold to the memory of this dispatcher: they would only take the room of others.
const fewTries = 3

// settle stores what happened and what comes next, and only then acks. It goes on trying while the broker is away; when
// the dispatcher ends first, the message is not acked and another one repeats the attempt.
func (d *Dispatcher) settle(ctx context.Context, r *result) {
	del := r.signed.Delivery
	step := d.policy(r).Next(del, r.verdict, time.Now())
	if r.hold != nil || r.fell || r.waits && del.Resigned == 0 {
		// To be signed again at once, or put into the backlog by the signer, where it keeps its place by age.
		step.At = time.Now()
	}
	unsent := !r.known || r.verdict.Outcome.Turn() == delivery.TurnSign
	for try, pause := 1, 100*time.Millisecond; ; try, pause = try+1, min(2*pause, 5*time.Second) {
		r.try = try
		err := d.store(ctx, r, step)
		if err == nil {
			break
		}
		d.logger.WarnContext(ctx, "the result of an attempt could not be stored; trying again",
			slog.String("delivery", string(del.ID)), slog.String("outcome", r.verdict.Outcome.String()), slog.Any("error", err))
		if unsent && try == fewTries {
			d.ledger.end(del, false)
			d.giveBack(r.msg, 5*time.Second)
			return
		}
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
		}
		d.ledger.end(del, false)
		return
	}
	d.report(ctx, r, step)
	d.ledger.end(del, r.verdict.Outcome.Turn() != delivery.TurnSign)
	if r.verdict.Outcome != delivery.Delivered {
		if err := r.msg.Ack(); err != nil {
			d.logger.WarnContext(ctx, "could not acknowledge", slog.Any("error", err))
		}
		return
	}
	// A lost ack would become a second POST, by another dispatcher perhaps: wait until the broker has it.
	if _, err := d.publisher.Confirm(r.msg).Wait(ctx); err != nil {
		d.logger.WarnContext(ctx, "delivered, but the broker did not confirm the ack; a repetition is swallowed here",
			slog.String("delivery", string(del.ID)), slog.Any("error", err))
	}
}

func (d *Dispatcher) policy(r *result) delivery.Policy {
	policy := delivery.Policy{Horizon: stream.Horizon, Schedule: endpoint.StandardSchedule()}
	if r.to.Endpoint != nil {
		policy.Schedule = r.to.Retry.Schedule
	}
	return policy
}

// store publishes the receipt and the next place of the delivery, and waits for both.
func (d *Dispatcher) store(ctx context.Context, r *result, step delivery.Step) error {
	if step.Action == delivery.Disable && !r.disabled && r.known {
		// First, so that whoever reads the receipt finds the endpoint disabled.
		if err := d.disable(ctx, r); err != nil {
			return err
		}
	}
	if err := d.settleHold(ctx, r); err != nil {
		if r.try < fewTries || ctx.Err() != nil {
			return err
		}
		d.logger.WarnContext(ctx, "that an endpoint is held is known to this dispatcher only; it is stored when the next probe, or attempt, shows it again",
			slog.String("endpoint", r.signed.Delivery.Endpoint.String()), slog.Any("error", err))
	}
	// Each of the two once: where one cannot be stored for longer than the broker knows ids, the other would pile up.
	var following, telling *stream.Pending
	if !r.moved {
		next, err := d.next(ctx, r, step)
		if err != nil {
			return err
		}
		if r.moved = next == nil; !r.moved {
			sent := d.publisher.Send(next.msg, next.id)
			following = &sent
		}
	}
	if !r.told && r.verdict.Outcome.Turn() != delivery.TurnSign { // nothing was attempted
		out := d.receipt(ctx, r, step)
		data, err := out.Append(make([]byte, 0, receiptSize))
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		sent := d.publisher.Send(&nats.Msg{Subject: stream.ReceiptSubject(r.signed.Delivery.Endpoint), Data: data}, "")
		telling = &sent
	}
	return errors.Join(landed(ctx, following, &r.moved), landed(ctx, telling, &r.told))
}

// landed waits for a message that was sent, if there was one, and notes that it is stored.
func landed(ctx context.Context, sent *stream.Pending, stored *bool) error {
	if sent == nil {
		return nil
	}
	_, err := sent.Wait(ctx)
	*stored = err == nil
	return err //nolint:wrapcheck // says what and where already, or is nil
}

type outgoing struct {
	msg *nats.Msg
	id  string
}

// next is the message that takes the delivery to its next place; nil when it is done.
func (d *Dispatcher) next(ctx context.Context, r *result, step delivery.Step) (*outgoing, error) {
	del := r.signed.Delivery
	switch step.Action {
	case delivery.Finish:
		return nil, nil //nolint:nilnil // done: no next place
	case delivery.Schedule:
		previous := r.signed.Previous
		if r.verdict.Outcome.Turn() != delivery.TurnSign {
			carrier := propagation.MapCarrier{}
			propagator.Inject(ctx, carrier)
			previous = carrier["traceparent"]
		}
		record := delivery.NewRetry(del, step, r.verdict.Outcome, previous)
		if step.Inline {
			record.Inline = &delivery.Inline{
				ContentType: r.signed.Header.Get("Content-Type"), Body: r.signed.Body, Type: r.signed.Type, Source: r.signed.Source, ID: r.signed.ID,
				Stamp: r.signed.Stamp,
			}
		}
		msg, id, err := d.topology.ScheduleMessage(record, d.clock.At(step.At), r.signed.Trace)
		if err != nil {
			return nil, err //nolint:wrapcheck // says what already
		}
		return &outgoing{msg: msg, id: id}, nil
	case delivery.Bury, delivery.Disable:
		outcome := r.verdict.Outcome
		letter := delivery.DeadLetter{
			Tenant: del.Endpoint.Tenant, Endpoint: del.Endpoint.Name, Delivery: del.ID, Attempt: del.Attempt, Event: del.Event,
			Outcome: &outcome, Reasons: reasons(step, r.verdict), URL: origin(r.to), Header: r.signed.Header,
			Body: delivery.NewBody(r.signed.Body), Stamp: r.signed.Stamp, Schema: del.Schema, First: del.First, At: time.Now().UTC(),
		}
		data, err := letter.Encode()
		if err != nil {
			return nil, err //nolint:wrapcheck // says what already
		}
		return &outgoing{msg: &nats.Msg{Subject: stream.DeadLetterSubject(del.Endpoint, string(del.ID)), Data: data}}, nil
	}
	return nil, fmt.Errorf("no rule for action %d", step.Action)
}

func reasons(step delivery.Step, v delivery.Verdict) []string {
	all := []string{step.Reason}
	if v.Advice != "" {
		all = append(all, v.Advice)
	}
	return all
}

// origin is the part of an endpoint's URL that is no secret.
func origin(to endpoint.Registered) string {
	if to.Endpoint == nil {
		return ""
	}
	return "https://" + to.Authority()
}

func (d *Dispatcher) receipt(ctx context.Context, r *result, step delivery.Step) receipt.Receipt {
	del, v := r.signed.Delivery, r.verdict
	out := receipt.Receipt{
		Delivery: del.ID, Tenant: del.Endpoint.Tenant, Endpoint: del.Endpoint.Name, Attempt: del.Attempt,
		Event:   receipt.Event{Sequence: del.Event, Type: r.signed.Type, Source: r.signed.Source, ID: r.signed.ID},
		Outcome: v.Outcome, Origin: v.Origin, Status: v.Status, Detail: v.Detail, Advice: v.Advice, URL: origin(r.to),
		First: del.First, SignedAt: r.signed.SignedAt, At: r.began.UTC(), Duration: r.took, Keys: r.signed.Keys,
		Reused: r.reused, Proof: r.proof, Dispatcher: d.config.ID,
	}
	if step.Action == delivery.Schedule {
		at := step.At.UTC()
		if r.hold != nil {
			at = r.hold.Next.UTC() // when the receiver is looked at again
		}
		out.Next = &at
	}
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		out.Trace = span.TraceID().String()
	}
	return out
}

// disable switches an endpoint off because its receiver said so. It names the revision of the document, so that
// applying it again switches it on.
func (d *Dispatcher) disable(ctx context.Context, r *result) error {
	key := r.signed.Delivery.Endpoint
	err := d.catalogue.Disable(ctx, key, *r.goneSince())
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	d.logger.WarnContext(ctx, "endpoint disabled: its receiver wants nothing more", slog.String("endpoint", key.String()), slog.String("detail", r.verdict.Detail))
	return nil
}

// report tells people about what went wrong, with what to do.
func (d *Dispatcher) report(ctx context.Context, r *result, step delivery.Step) {
	if r.verdict.Outcome == delivery.Delivered {
		return
	}
	if step.Action == delivery.Bury || step.Action == delivery.Disable {
		d.meters.letters.Add(ctx, 1, d.meters.outcomes[r.verdict.Outcome])
	}
	level := slog.LevelInfo
	if r.verdict.Outcome.Hold() || step.Action == delivery.Bury || step.Action == delivery.Disable {
		level = slog.LevelWarn
	}
	if r.verdict.Outcome == delivery.LaneFull && r.verdict.RetryAfter > 0 {
		level = slog.LevelDebug // as agreed with the receiver
	}
	attributes := []slog.Attr{
		slog.String("delivery", string(r.signed.Delivery.ID)), slog.String("endpoint", r.signed.Delivery.Endpoint.String()),
		slog.Int("attempt", r.signed.Delivery.Attempt), slog.String("outcome", r.verdict.Outcome.String()),
		slog.String("detail", r.verdict.Detail),
	}
	if r.verdict.Advice != "" {
		attributes = append(attributes, slog.String("advice", r.verdict.Advice))
	}
	switch {
	case r.hold != nil:
		attributes = append(attributes, slog.Time("held_until_probe", r.hold.Next))
	case step.Action == delivery.Schedule:
		attributes = append(attributes, slog.Time("next", step.At))
	}
	d.logger.LogAttrs(ctx, level, "delivery not made", attributes...)
}
