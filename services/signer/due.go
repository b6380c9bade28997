package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/stream"
)

// due works on one retry whose time has come.
func (s *Signer) due(ctx context.Context, msg jetstream.Msg) {
	record, err := delivery.ParseRetry(msg.Data())
	if err != nil {
		s.refuseRetry(ctx, msg, err)
		return
	}
	meta, err := msg.Metadata()
	if err != nil {
		s.logger.ErrorContext(ctx, "message without JetStream metadata", slog.Any("error", err))
		return
	}
	ctx = propagator.Extract(ctx, event.Carrier(msg.Headers()))
	if err := s.resign(ctx, record, meta.Sequence.Stream); err != nil {
		s.logger.WarnContext(ctx, "retry could not be signed and stored; trying again",
			slog.String("delivery", string(record.Delivery)), slog.String("endpoint", record.Due().Endpoint.String()), slog.Any("error", err))
		s.giveBack(ctx, msg, pauseRetry)
		return
	}
	s.done(ctx, msg)
}

// resign stores a fresh request, or a dead letter when there is nothing left to sign. The message id holds the sequence
// of the due record: the same record gives the same message once, and another one of the same attempt is not mistaken
// for it.
func (s *Signer) resign(ctx context.Context, record delivery.Retry, sequence uint64) error {
	d := record.Due()
	to, err := s.endpoint(ctx, d.Endpoint)
	if errors.Is(err, stream.ErrNoEndpoint) {
		return s.end(ctx, d, nil, "the endpoint has been deleted")
	}
	if err != nil {
		return err
	}
	raw, err := s.events.GetMsg(ctx, d.Event)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return s.end(ctx, d, nil, "event "+strconv.FormatUint(d.Event, 10)+" is no longer in EVENTS, so there is no payload to send")
	}
	if err != nil {
		return fmt.Errorf("read event %d: %w", d.Event, err)
	}
	e, err := read(raw.Subject, raw.Header, raw.Data, raw.Sequence, raw.Time)
	if err != nil {
		return s.end(ctx, d, nil, "the stored event is not valid: "+err.Error())
	}
	if to.Disabled() {
		return s.end(ctx, d, &e, "the endpoint is disabled: "+to.Status.Disabled.Reason)
	}
	signed, err := s.sign(ctx, e, to, d)
	if err != nil {
		return err
	}
	signed.Previous = record.Previous
	id := string(d.ID) + "." + strconv.FormatUint(sequence, 10)
	if _, err := s.publisher.Send(s.topology.SignedMessage(signed), id).Wait(ctx); err != nil {
		s.deliveries(ctx, "failed")
		return err //nolint:wrapcheck // says what and where already
	}
	s.deliveries(ctx, "stored")
	return nil
}

// endpoint finds an endpoint, in the bucket itself when it is not known here yet.
func (s *Signer) endpoint(ctx context.Context, key endpoint.Key) (endpoint.Registered, error) {
	if known, ok := s.endpoints.Get(key); ok {
		return known, nil
	}
	e, revision, err := s.catalogue.Get(ctx, key)
	if err != nil {
		return endpoint.Registered{}, err //nolint:wrapcheck // says what and where already
	}
	return endpoint.Registered{Endpoint: e, Revision: revision}, nil
}

// end buries a delivery that cannot go on.
func (s *Signer) end(ctx context.Context, d delivery.Delivery, e *stored, reason string) error {
	outcome := delivery.Gone
	letter := delivery.DeadLetter{
		Tenant: d.Endpoint.Tenant, Endpoint: d.Endpoint.Name, Delivery: d.ID, Attempt: d.Attempt, Event: d.Event,
		Outcome: &outcome, Reasons: []string{reason}, First: d.First, At: time.Now().UTC(),
	}
	if e != nil {
		letter.Header, letter.Body = http.Header{"Content-Type": {e.content}}, delivery.NewBody(e.body)
	}
	s.logger.WarnContext(ctx, "delivery ends without another attempt", slog.String("delivery", string(d.ID)),
		slog.String("endpoint", d.Endpoint.String()), slog.String("reason", reason))
	return s.bury(ctx, letter, string(d.ID))
}

// refuseRetry keeps a record that nobody of ours wrote, and goes on.
func (s *Signer) refuseRetry(ctx context.Context, msg jetstream.Msg, cause error) {
	letter := delivery.DeadLetter{
		Subject: msg.Subject(), Reasons: []string{cause.Error()}, Header: http.Header(msg.Headers()),
		Body: delivery.NewBody(msg.Data()), At: time.Now().UTC(),
	}
	s.logger.ErrorContext(ctx, "foreign record among the retries", slog.String("subject", msg.Subject()), slog.Any("error", cause))
	id := "foreign"
	if meta, err := msg.Metadata(); err == nil {
		id += "-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	if err := s.bury(ctx, letter, id); err != nil {
		s.giveBack(ctx, msg, pauseRetry)
		return
	}
	s.done(ctx, msg)
}
