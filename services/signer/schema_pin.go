package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
)

// pinned is what endpoints get that are pinned to another version. It is found out once for all of them.
type pinned struct {
	payload payload
	err     error
}

// pin checks an event that has passed against a version that endpoints are pinned to. The errors are those of
// [schema.Verdict.Pin].
func (e *stored) pin(number int) error {
	if known, ok := e.pinned[number]; ok {
		return known.err
	}
	var found pinned
	dataschema, err := e.verdict.Pin(number)
	if err != nil {
		found.err = err
	} else {
		found.payload, found.err = e.named(dataschema)
	}
	if e.pinned == nil {
		e.pinned = make(map[int]pinned)
	}
	e.pinned[number] = found
	return found.err
}

// content is what an endpoint gets of an event.
func (e *stored) content(to endpoint.Registered) payload {
	if len(e.pinned) == 0 {
		return e.payload
	}
	if number, pins := to.Schema.Pin[e.Type()]; pins {
		if known, ok := e.pinned[number]; ok && known.err == nil {
			return known.payload
		}
	}
	return e.payload
}

// admitSome does so for some endpoints by the versions that they pin. What breaks its version, or cannot be checked, is
// kept for its endpoint alone; all of those are on their way to the broker at the same time.
func (s *Signer) admitSome(ctx context.Context, e *stored, some []endpoint.Registered) (admitted []endpoint.Registered, err error) {
	var pending []stream.Pending
	for _, to := range some {
		number, pins := to.Schema.Pin[e.Type()]
		if !pins || to.Disabled() {
			admitted = append(admitted, to)
			continue
		}
		err := e.pin(number)
		if err == nil {
			admitted = append(admitted, to)
			continue
		}
		var msg *nats.Msg
		var id string
		d := first(e, to)
		if violation, ok := errors.AsType[*schema.ViolationError](err); ok {
			msg, err = s.violationLetter(ctx, d, e.payload, violation)
		} else if unusable, ok := errors.AsType[*schema.UnusableError](err); ok {
			d.Schema = "" // to be decided then
			msg, id, err = s.putOffMessage(ctx, d, unusable)
		}
		if err != nil {
			return nil, err
		}
		pending = append(pending, s.publisher.Send(msg, id))
	}
	for _, p := range pending {
		if _, err := p.Wait(ctx); err != nil {
			return nil, fmt.Errorf("keep what a pinned schema refuses: %w", err)
		}
	}
	return admitted, nil
}

// endViolation keeps a delivery whose event breaks the version that its endpoint is pinned to.
func (s *Signer) endViolation(ctx context.Context, d delivery.Delivery, as payload, cause *schema.ViolationError) error {
	msg, err := s.violationLetter(ctx, d, as, cause)
	if err != nil {
		return err
	}
	_, err = s.publisher.Send(msg, "").Wait(ctx)
	return err //nolint:wrapcheck // says what and where already, or is nil
}

func (s *Signer) violationLetter(ctx context.Context, d delivery.Delivery, as payload, cause *schema.ViolationError) (*nats.Msg, error) {
	stamp, err := s.stamp(d, as.content, as.body)
	if err != nil {
		return nil, err
	}
	outcome := delivery.Rejected
	data, err := delivery.DeadLetter{
		Tenant: d.Endpoint.Tenant, Endpoint: d.Endpoint.Name, Delivery: d.ID, Attempt: d.Attempt, Event: d.Event,
		Outcome: &outcome, Reasons: cause.Reasons(), Header: map[string][]string{"Content-Type": {as.content}},
		Body: delivery.NewBody(as.body), Stamp: stamp, First: d.First, At: time.Now().UTC(),
	}.Encode()
	if err != nil {
		return nil, err //nolint:wrapcheck // says what already
	}
	s.logger.WarnContext(ctx, "an event breaks the version of its schema that an endpoint is pinned to; it is kept as a dead letter of that endpoint",
		slog.String("endpoint", d.Endpoint.String()), slog.Uint64("event", d.Event), slog.Int("problems", len(cause.Problems)))
	return &nats.Msg{Subject: stream.DeadLetterSubject(d.Endpoint, string(d.ID)), Data: data}, nil
}
