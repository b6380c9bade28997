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

// due works on one retry whose time has come, or on a token that wakes an endpoint.
func (s *Signer) due(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		s.logger.ErrorContext(ctx, "message without JetStream metadata", slog.Any("error", err))
		return
	}
	if token := msg.Headers().Get(stream.WakeHeader); token != "" {
		s.wake(ctx, msg, token, meta.NumDelivered)
		return
	}
	record, err := delivery.ParseRetry(msg.Data())
	if err != nil {
		s.refuseRetry(ctx, msg, err)
		return
	}
	ctx = propagator.Extract(ctx, event.Carrier(msg.Headers()))
	if err := s.resign(ctx, record, strconv.FormatUint(meta.Sequence.Stream, 10)); err != nil {
		s.logger.WarnContext(ctx, "retry could not be signed and stored; trying again",
			slog.String("delivery", string(record.Delivery)), slog.String("endpoint", record.Due().Endpoint.String()), slog.Any("error", err))
		if everybodys(err) || s.later(ctx, record) != nil {
			s.giveBack(ctx, msg, pauseRetry)
			return
		}
	}
	s.done(ctx, msg)
}

// resign stores a fresh request, or a dead letter when there is nothing left to sign, or parks the record when the
// endpoint is paused or held. source names the record: the same record gives the same message once, and another one of the same
// attempt is not mistaken for it.
func (s *Signer) resign(ctx context.Context, record delivery.Retry, source string) error {
	d := record.Due()
	to, err := s.endpoint(ctx, d.Endpoint)
	if errors.Is(err, stream.ErrNoEndpoint) {
		return s.endWith(ctx, d, record.Inline, "the endpoint has been deleted")
	}
	if err != nil {
		return unready(err) // a document that cannot be read is one endpoint's
	}
	if to.Waiting() && (record.Inline != nil || time.Since(d.First) < time.Hour) {
		return s.park(ctx, d, record.Inline, source)
	}
	content, err := s.payload(ctx, record)
	if lost, ok := errors.AsType[*lostError](err); ok {
		return s.endWith(ctx, d, record.Inline, lost.reason) // what was refused is kept for people to look at
	}
	if unfit, err := s.unfit(ctx, d, content, err); unfit {
		return err
	}
	if err != nil {
		return unready(err)
	}
	if record.Inline == nil {
		d.Schema = content.schema
	}
	if to.Waiting() {
		// It is parked behind younger ones, or again and again where there is no room: preserve would come too late.
		inline, err := s.inline(d, content)
		if err != nil {
			return err
		}
		return s.park(ctx, d, inline, source)
	}
	if to.Disabled() {
		return s.end(ctx, d, &content, "the endpoint is disabled: "+to.Status.Disabled.Reason)
	}
	signed, err := s.sign(ctx, content, to, d)
	if err != nil {
		return unready(err)
	}
	signed.Previous = record.Previous
	if _, err := s.publisher.Send(s.topology.SignedMessage(signed), turnID(d, source)).Wait(ctx); err != nil {
		s.deliveries(ctx, failed)
		return err //nolint:wrapcheck // says what and where already
	}
	s.deliveries(ctx, kept)
	return nil
}

// turnID is the message id of one signing. Its source alone, a place in a stream, is not enough: a stream that has been
// made again counts from the beginning, and the broker would take another turn of the delivery for the one before.
func turnID(d delivery.Delivery, source string) string {
	return string(d.ID) + "." + strconv.Itoa(d.Attempt) + "." + strconv.Itoa(d.Resigned) + "." + source
}

// lostError says that there is no payload any more.
type lostError struct{ reason string }

func (e *lostError) Error() string { return e.reason }

// payload reads what is to be sent: from the record when it brings it along, else from EVENTS.
func (s *Signer) payload(ctx context.Context, record delivery.Retry) (payload, error) {
	if in := record.Inline; in != nil {
		return s.carried(record.Due(), in)
	}
	raw, err := stream.GetMsg(ctx, s.events, record.Event)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return payload{}, &lostError{"event " + strconv.FormatUint(record.Event, 10) + " is no longer in EVENTS, so there is no payload to send"}
	}
	if err != nil {
		return payload{}, fmt.Errorf("read event %d: %w", record.Event, err)
	}
	e, err := read(raw.Subject, raw.Header, raw.Data, raw.Sequence, raw.Time)
	if err != nil {
		return payload{}, &lostError{"the stored event is not valid: " + err.Error()}
	}
	// A record is not signed by anybody; what it says is believed only where the event bears it out.
	if d := record.Due(); delivery.NewID(e.Digest(), d.Endpoint) != d.ID || e.Tenant() != d.Endpoint.Tenant {
		return payload{}, &lostError{"event " + strconv.FormatUint(record.Event, 10) + " does not belong to this delivery, so somebody else has written its record"}
	}
	return s.decided(ctx, &e, record)
}

// endpoint finds an endpoint, in the bucket itself when it is not known here yet.
func (s *Signer) endpoint(ctx context.Context, key endpoint.Key) (endpoint.Registered, error) {
	if known, ok := s.endpoints.Get(key); ok {
		return known, nil
	}
	return s.catalogue.Lookup(ctx, key) //nolint:wrapcheck // says what and where already
}

// end buries a delivery that cannot go on.
func (s *Signer) end(ctx context.Context, d delivery.Delivery, e *payload, reason string) error {
	if e == nil {
		return s.endWith(ctx, d, nil, reason)
	}
	inline, err := s.inline(d, *e)
	if err != nil {
		return err
	}
	return s.endWith(ctx, d, inline, reason)
}

// endWith buries a delivery with a payload under the stamp that it has, or has not.
func (s *Signer) endWith(ctx context.Context, d delivery.Delivery, in *delivery.Inline, reason string) error {
	outcome := delivery.Gone
	letter := delivery.DeadLetter{
		Tenant: d.Endpoint.Tenant, Endpoint: d.Endpoint.Name, Delivery: d.ID, Attempt: d.Attempt, Event: d.Event,
		Outcome: &outcome, Reasons: []string{reason}, Schema: d.Schema, First: d.First, At: time.Now().UTC(),
	}
	if in != nil {
		letter.Header, letter.Body = http.Header{"Content-Type": {in.ContentType}}, delivery.NewBody(in.Body)
		_, err := s.carried(d, in)
		if _, foreign := errors.AsType[*lostError](err); !foreign {
			letter.Stamp = in.Stamp
		}
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
	id := "foreign-retry"
	if meta, err := msg.Metadata(); err == nil {
		id += "-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	if err := s.bury(ctx, letter, id); err != nil {
		s.giveBack(ctx, msg, pauseRetry)
		return
	}
	s.done(ctx, msg)
}
