package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/telemetry"
)

// Pauses before work that failed is tried again; below AckWait, as DESIGN.md section 12 wants it.
const (
	pauseEvent = 2 * time.Second
	pauseRetry = 5 * time.Second
)

// W3C trace context only: baggage of a producer is nobody else's business.
var propagator = propagation.TraceContext{}

// payload is what is signed and sent of an event.
type payload struct {
	body    []byte
	content string
	// kind, source and id are the event's.
	kind, source, id string
	// schema is what was decided for dataschema, see schema.go.
	schema string
}

// stored is an event with its place in EVENTS.
type stored struct {
	event.Event
	payload

	sequence uint64
	at       time.Time
	verdict  schema.Verdict
	pinned   map[int]pinned // by version
}

// event works on one message of EVENTS.
func (s *Signer) event(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		s.logger.ErrorContext(ctx, "message without JetStream metadata", slog.Any("error", err))
		return
	}
	e, err := read(msg.Subject(), msg.Headers(), msg.Data(), meta.Sequence.Stream, meta.Timestamp)
	if err != nil {
		s.refuse(ctx, msg, meta, err)
		return
	}
	ctx = propagator.Extract(ctx, event.Carrier(msg.Headers()))
	if telemetry.Unrecorded(ctx) {
		s.handle(ctx, msg, &e, trace.SpanFromContext(ctx))
		return
	}
	ctx, span := s.tracer.Start(ctx, "match "+e.Type(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.name", msg.Subject()),
		attribute.String("handfast.tenant", e.Tenant()), attribute.String("cloudevents.event_id", e.ID()),
		attribute.String("cloudevents.event_source", e.Source()), attribute.String("cloudevents.event_type", e.Type()),
		attribute.Int64("handfast.event.sequence", int64(e.sequence)))) //nolint:gosec // JetStream counts from 1
	defer span.End()
	s.handle(ctx, msg, &e, span)
}

// handle matches, signs and publishes one valid event.
func (s *Signer) handle(ctx context.Context, msg jetstream.Msg, e *stored, span trace.Span) {
	var matched []endpoint.Registered
	err := s.catalogue.Sure(ctx, e.at)
	if err == nil {
		matched = s.match(ctx, e)
		span.SetAttributes(attribute.Int("handfast.endpoints.matched", len(matched)))
		matched, err = s.admit(ctx, e, matched)
	}
	violation, violated := errors.AsType[*schema.ViolationError](err)
	if violated {
		err = s.violate(ctx, msg, e, violation)
	}
	if err == nil && !violated {
		err = s.fanOut(ctx, e, matched)
	}
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
		s.logger.WarnContext(ctx, "event could not be signed and published for any endpoint; trying again",
			slog.String("tenant", e.Tenant()), slog.Uint64("event", e.sequence), slog.Any("error", err))
		s.count(ctx, again)
		s.giveBack(ctx, msg, pauseEvent)
		return
	}
	if violated {
		s.count(ctx, refused)
	} else {
		s.count(ctx, signed)
	}
	s.done(ctx, msg)
}

func (s *Signer) count(ctx context.Context, r result) {
	s.meters.events.Add(ctx, 1, s.meters.results[r])
}

// read parses an event and builds, once for all its endpoints, the body that they get.
func read(subject string, header nats.Header, data []byte, sequence uint64, at time.Time) (stored, error) {
	e, err := event.Parse(subject, header, data)
	if err == nil {
		err = pretending(e.Tenant(), header)
	}
	if err != nil {
		return stored{}, err //nolint:wrapcheck // an *event.InvalidError by contract
	}
	body, content, err := e.Body()
	if err != nil {
		return stored{}, fmt.Errorf("build body: %w", err)
	}
	return stored{
		Event: e, sequence: sequence, at: at,
		payload: payload{body: body, content: content, kind: e.Type(), source: e.Source(), id: e.ID()},
	}, nil
}

// pretending refuses a message that carries what the broker alone says about one: where it stands. Our client library
// would believe it when the event is read again for a retry, or fail at it each time.
func pretending(tenant string, header nats.Header) error {
	var reasons []event.Reason
	for _, own := range [...]string{jetstream.StreamHeader, jetstream.SubjectHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer} {
		if _, there := header[own]; there {
			reasons = append(reasons, event.Reason{Field: own, Message: "is for the broker alone to say; publish without it"})
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return &event.InvalidError{Tenant: tenant, Reasons: reasons}
}

// match returns the endpoints that want the event, those that their receivers have disabled among them.
func (s *Signer) match(ctx context.Context, e *stored) []endpoint.Registered {
	var matched []endpoint.Registered
	for _, candidate := range s.endpoints.Tenant(e.Tenant()) {
		wanted, err := candidate.Match(e)
		if err != nil {
			trace.SpanFromContext(ctx).AddEvent("filter error", trace.WithAttributes(
				attribute.String("handfast.endpoint", candidate.Key().String()), attribute.String("error", err.Error())))
			s.logger.DebugContext(ctx, "filter cannot be evaluated for this event, which therefore does not match", slog.Any("error", err))
		}
		if wanted {
			matched = append(matched, candidate)
		}
	}
	return matched
}

// refuse puts a message that is no valid event into DEADLETTERS, so that it never blocks the stream.
func (s *Signer) refuse(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, cause error) {
	letter := delivery.DeadLetter{
		Subject: msg.Subject(), Event: meta.Sequence.Stream, First: meta.Timestamp, At: time.Now().UTC(),
		Header: map[string][]string(msg.Headers()), Body: delivery.NewBody(msg.Data()), Reasons: []string{cause.Error()},
	}
	if invalid, ok := errors.AsType[*event.InvalidError](cause); ok {
		letter.Tenant, letter.Reasons = invalid.Tenant, nil
		for _, reason := range invalid.Reasons {
			letter.Reasons = append(letter.Reasons, reason.Field+": "+reason.Message)
		}
	}
	if len(msg.Data()) > event.MaxSize {
		// It would not fit when repeated with its reasons; the message itself stays in EVENTS.
		letter.Header, letter.Body = nil, delivery.Body{Omitted: len(msg.Data())}
	}
	s.logger.WarnContext(ctx, "refused a message that is no valid event", slog.String("subject", msg.Subject()),
		slog.Uint64("event", letter.Event), slog.Any("reasons", letter.Reasons))
	if err := s.bury(ctx, letter, "event-"+strconv.FormatUint(letter.Event, 10)); err != nil {
		s.logger.ErrorContext(ctx, "could not store a dead letter; trying again", slog.Any("error", err))
		s.giveBack(ctx, msg, pauseEvent)
		return
	}
	s.count(ctx, refused)
	s.done(ctx, msg)
}

// bury stores a dead letter under its id; storing it again replaces it.
func (s *Signer) bury(ctx context.Context, letter delivery.DeadLetter, id string) error {
	data, err := letter.Encode()
	if err != nil {
		return err //nolint:wrapcheck // says what already
	}
	key := endpoint.Key{Tenant: letter.Tenant, Name: letter.Endpoint}
	_, err = s.publisher.Send(&nats.Msg{Subject: stream.DeadLetterSubject(key, id), Data: data}, "").Wait(ctx)
	return err //nolint:wrapcheck // says what and where already
}

// traceparent is the W3C form of the span in ctx.
func traceparent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagator.Inject(ctx, carrier)
	return carrier["traceparent"]
}
