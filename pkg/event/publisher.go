package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	scope = "github.com/handfast/handfast/pkg/event"

	// stallWait is how long an asynchronous publish waits for room among those
	// that are not acknowledged yet. The client's own 200 ms look like loss.
	stallWait = 5 * time.Second

	// codeStreamFull is the broker's error code for a stream that refuses new
	// messages; nats.go does not name it.
	codeStreamFull jetstream.ErrorCode = 10077
)

// Sender is the part of [jetstream.JetStream] that a [Publisher] uses.
type Sender interface {
	PublishMsg(ctx context.Context, msg *nats.Msg, options ...jetstream.PublishOpt) (*jetstream.PubAck, error)
	PublishMsgAsync(msg *nats.Msg, options ...jetstream.PublishOpt) (jetstream.PubAckFuture, error)
}

var _ Sender = jetstream.JetStream(nil)

// Publisher publishes events in binary mode, each with a span and its trace
// context. Make it with [NewPublisher]; it is safe for concurrent use.
type Publisher struct {
	sender Sender
	tracer trace.Tracer
	w3c    propagation.TraceContext
}

// NewPublisher makes a Publisher that sends through js and traces with tracers.
func NewPublisher(js Sender, tracers trace.TracerProvider) *Publisher {
	return &Publisher{sender: js, tracer: tracers.Tracer(scope)}
}

// Publish publishes an event and waits until the broker has stored it. It
// returns the event's sequence in the stream, and whether the broker already had
// the event, in which case the sequence is that of the first one.
//
// An event that is not valid is an [*InvalidError], and nothing is sent. Any
// other error leaves open whether the event was stored. Publish the same event
// again then: inside the stream's duplicate window it is stored once.
func (p *Publisher) Publish(ctx context.Context, tenant string, e cloudevents.Event) (
	sequence uint64, duplicate bool, err error,
) {
	msg, err := NewMessage(tenant, e)
	if err != nil {
		return 0, false, err
	}
	ctx, span := p.start(ctx, msg, e)
	defer span.End()
	ack, err := p.sender.PublishMsg(ctx, msg)
	if err != nil {
		return 0, false, fail(span, msg.Subject, err)
	}
	span.SetAttributes(attribute.Bool("handfast.event.duplicate", ack.Duplicate))
	return ack.Sequence, ack.Duplicate, nil
}

// PublishAsync hands an event to the client and returns without waiting for the
// broker. The event counts as published only when the future says so: look at
// every future. It waits at most five seconds for room when too many are not
// acknowledged yet. Errors are those of [Publisher.Publish]; the span covers the
// hand-over only.
func (p *Publisher) PublishAsync(ctx context.Context, tenant string, e cloudevents.Event) (
	jetstream.PubAckFuture, error,
) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("publish event %q: %w", e.ID(), err)
	}
	msg, err := NewMessage(tenant, e)
	if err != nil {
		return nil, err
	}
	_, span := p.start(ctx, msg, e)
	defer span.End()
	future, err := p.sender.PublishMsgAsync(msg, jetstream.WithStallWait(stallWait))
	if err != nil {
		return nil, fail(span, msg.Subject, err)
	}
	return future, nil
}

// start begins the span of a publish, OpenTelemetry semantic conventions for
// messaging and for CloudEvents, and writes its context into the message.
func (p *Publisher) start(ctx context.Context, msg *nats.Msg, e cloudevents.Event) (context.Context, trace.Span) {
	ctx, span := p.tracer.Start(ctx, "publish "+e.Type(), //nolint:spancheck // the callers end it
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.type", "send"),
			attribute.String("messaging.operation.name", "publish"),
			attribute.String("messaging.destination.name", msg.Subject),
			attribute.String("messaging.message.id", msg.Header.Get(jetstream.MsgIDHeader)),
			attribute.Int("messaging.message.body.size", len(msg.Data)),
			attribute.String("cloudevents.event_id", e.ID()),
			attribute.String("cloudevents.event_source", e.Source()),
			attribute.String("cloudevents.event_type", e.Type()),
		))
	p.w3c.Inject(ctx, Carrier(msg.Header))
	return ctx, span //nolint:spancheck // as above
}

func fail(span trace.Span, subject string, err error) error {
	err = fmt.Errorf("publish on %s: %s: %w", subject, advice(err), err)
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
	return err
}

// advice says what to do about a failed publish.
func advice(err error) string {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return "no stream takes this subject; create the streams with `handfast topology apply`, " +
			"and check that the connection is to the right account"
	case errors.As(err, &api) && api.ErrorCode == codeStreamFull:
		return "the stream is full and takes nothing new; give it room or shorten its age, then publish again"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return "no acknowledgement in time; publishing the same event again is safe. " +
			"If it never succeeds, check that the user may publish on this subject: " +
			"the broker tells a refusal only to the connection's error handler"
	default:
		return "the event may not be stored; publish the same event again"
	}
}
