package event_test

import (
	"context"
	"errors"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/handfast/handfast/pkg/event"
)

// broker starts a real JetStream server inside the process.
func broker(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	require.NoError(t, err)
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(10*time.Second))
	conn, err := nats.Connect("", nats.InProcessServer(s))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return js
}

func eventsStream(t *testing.T, js jetstream.JetStream, maxMsgs int64) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"events.>"}, Discard: jetstream.DiscardNew, MaxMsgs: maxMsgs,
		Duplicates: 2 * time.Minute,
	})
	require.NoError(t, err)
	return stream
}

func recorder() (*tracetest.SpanRecorder, trace.TracerProvider) {
	spans := tracetest.NewSpanRecorder()
	return spans, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
}

func TestPublishStoresOnceAndTraces(t *testing.T) {
	t.Parallel()
	js := broker(t)
	stream := eventsStream(t, js, -1)
	spans, tracers := recorder()
	publisher := event.NewPublisher(js, tracers)
	sent := fullEvent(t)

	sequence, duplicate, err := publisher.Publish(t.Context(), "acme", sent)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), sequence)
	assert.False(t, duplicate)
	sequence, duplicate, err = publisher.Publish(t.Context(), "acme", sent)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), sequence)
	assert.True(t, duplicate)
	sequence, duplicate, err = publisher.Publish(t.Context(), "globex", sent)
	require.NoError(t, err)
	assert.Equal(t, uint64(2), sequence, "another tenant's event is another event")
	assert.False(t, duplicate)

	stored, err := stream.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	e, err := event.Parse(stored.Subject, stored.Header, stored.Data)
	require.NoError(t, err)
	assert.Equal(t, sent.ID(), e.ID())

	span := spans.Ended()[0]
	assert.Equal(t, "publish order.created", span.Name())
	assert.Equal(t, trace.SpanKindProducer, span.SpanKind())
	context := span.SpanContext()
	assert.Equal(t, []string{"00-" + context.TraceID().String() + "-" + context.SpanID().String() + "-01"}, stored.Header["traceparent"])
	got := map[string]string{}
	for _, attribute := range span.Attributes() {
		got[string(attribute.Key)] = attribute.Value.String()
	}
	assert.Equal(t, map[string]string{
		"messaging.system": "nats", "messaging.operation.type": "send", "messaging.operation.name": "publish",
		"messaging.destination.name": "events.acme.order.created", "messaging.message.body.size": "11",
		"messaging.message.id": event.MessageID("acme", sent.Source(), sent.ID()),
		"cloudevents.event_id": sent.ID(), "cloudevents.event_source": sent.Source(), "cloudevents.event_type": "order.created",
		"handfast.event.duplicate": "false",
	}, got)
}

func TestPublishAsync(t *testing.T) {
	t.Parallel()
	js := broker(t)
	eventsStream(t, js, -1)
	publisher := event.NewPublisher(js, noop.NewTracerProvider())
	future, err := publisher.PublishAsync(t.Context(), "acme", fullEvent(t))
	require.NoError(t, err)
	select {
	case ack := <-future.Ok():
		assert.Equal(t, uint64(1), ack.Sequence)
	case err := <-future.Err():
		require.NoError(t, err)
	case <-t.Context().Done():
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = publisher.PublishAsync(cancelled, "acme", fullEvent(t))
	require.ErrorIs(t, err, context.Canceled)
	_, err = publisher.PublishAsync(t.Context(), "acme", cloudevents.New())
	require.ErrorAs(t, err, new(*event.InvalidError))
}

func TestPublishSaysWhatToDo(t *testing.T) {
	t.Parallel()
	js := broker(t)
	spans, tracers := recorder()
	publisher := event.NewPublisher(js, tracers)

	_, _, err := publisher.Publish(t.Context(), "acme", cloudevents.New())
	require.ErrorAs(t, err, new(*event.InvalidError))
	assert.Empty(t, spans.Ended(), "nothing was sent")

	_, _, err = publisher.Publish(t.Context(), "acme", fullEvent(t))
	require.ErrorIs(t, err, jetstream.ErrNoStreamResponse)
	require.ErrorContains(t, err, "handfast topology apply")

	eventsStream(t, js, 1)
	first := fullEvent(t)
	first.SetID("1")
	_, _, err = publisher.Publish(t.Context(), "acme", first)
	require.NoError(t, err)
	_, _, err = publisher.Publish(t.Context(), "acme", fullEvent(t))
	require.ErrorContains(t, err, "stream is full")
	assert.Len(t, spans.Ended()[2].Events(), 1, "the error is on the span")
}

// brokenSender fails as told.
type brokenSender struct{ err error }

func (s brokenSender) PublishMsg(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return nil, s.err
}

func (s brokenSender) PublishMsgAsync(*nats.Msg, ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	return nil, s.err
}

func TestPublishAdviceOfOtherErrors(t *testing.T) {
	t.Parallel()
	other := errors.New("connection closed")
	for err, want := range map[error]string{
		context.DeadlineExceeded: "may publish on this subject", nats.ErrTimeout: "may publish on this subject",
		nats.ErrNoResponders: "no stream", other: "may not be stored",
	} {
		publisher := event.NewPublisher(brokenSender{err}, noop.NewTracerProvider())
		_, _, got := publisher.Publish(t.Context(), "acme", fullEvent(t))
		require.ErrorIs(t, got, err)
		require.ErrorContains(t, got, want)
		_, got = publisher.PublishAsync(t.Context(), "acme", fullEvent(t))
		require.ErrorIs(t, got, err)
	}
}
