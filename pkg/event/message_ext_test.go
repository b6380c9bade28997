package event_test

import (
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/event"
)

func fullEvent(tb testing.TB) cloudevents.Event {
	tb.Helper()
	e := cloudevents.New()
	e.SetID("Euro € 😀")
	e.SetSource("https://shop.example/orders?a=b%20c")
	e.SetType("order.created")
	e.SetSubject(`"1042"`)
	e.SetTime(time.Date(2026, 1, 31, 9, 0, 0, 1, time.UTC))
	e.SetDataSchema("https://shop.example/schema")
	e.SetExtension("sequence", int32(7))
	e.SetExtension("urgent", true)
	e.SetExtension("note", "50 %")
	require.NoError(tb, e.SetData("application/json", map[string]int{"total": 3}))
	return e
}

func TestMessagesRoundTrip(t *testing.T) {
	t.Parallel()
	sent := fullEvent(t)
	binaryMsg, err := event.NewMessage("acme", sent)
	require.NoError(t, err)
	structuredMsg, err := event.NewStructuredMessage("acme", sent)
	require.NoError(t, err)

	assert.Equal(t, "events.acme.order.created", binaryMsg.Subject)
	assert.Equal(t, binaryMsg.Subject, structuredMsg.Subject)
	assert.Equal(t, "Euro%20%E2%82%AC%20%F0%9F%98%80", binaryMsg.Header.Get("ce-id"))
	assert.Equal(t, event.MessageID("acme", sent.Source(), sent.ID()), binaryMsg.Header.Get("Nats-Msg-Id"))
	assert.Equal(t, binaryMsg.Header.Get("Nats-Msg-Id"), structuredMsg.Header.Get("Nats-Msg-Id"))

	fromStructured, err := event.Parse(structuredMsg.Subject, structuredMsg.Header, structuredMsg.Data)
	require.NoError(t, err)
	assert.Equal(t, sent.Context, fromStructured.CloudEvent().Context)
	assert.Equal(t, sent.Data(), fromStructured.CloudEvent().Data())

	fromBinary, err := event.Parse(binaryMsg.Subject, binaryMsg.Header, binaryMsg.Data)
	require.NoError(t, err)
	assert.Equal(t, fromStructured.Digest(), fromBinary.Digest())
	assert.Equal(t, map[string]any{"sequence": "7", "urgent": "true", "note": "50 %"}, fromBinary.CloudEvent().Extensions())
	assert.True(t, sent.Time().Equal(fromBinary.Time()))
}

func TestStructuredBodyIsReadByTheSDK(t *testing.T) {
	t.Parallel()
	sent := fullEvent(t)
	msg, err := event.NewMessage("acme", sent)
	require.NoError(t, err)
	e, err := event.Parse(msg.Subject, msg.Header, msg.Data)
	require.NoError(t, err)
	text, _, err := e.Body()
	require.NoError(t, err)
	var read cloudevents.Event
	require.NoError(t, read.UnmarshalJSON(text))
	require.NoError(t, read.Validate())
	assert.Equal(t, sent.ID(), read.ID())
	assert.Equal(t, sent.Source(), read.Source())
	assert.JSONEq(t, string(sent.Data()), string(read.Data()))
}

func TestMessagesRefuseEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	broken := cloudevents.New()
	broken.SetType("order..created")
	broken.SetSource("::")
	broken.SetExtension("bad_name", "x")
	broken.SetExtension("data", strings.Repeat("x", event.MaxAttributeSize+1))
	old := cloudevents.New(cloudevents.CloudEventsVersionV03)
	old.SetID("1")
	old.SetSource("/s")
	old.SetType("a.b")
	notJSON := cloudevents.New()
	notJSON.SetID("1")
	notJSON.SetSource("/s")
	notJSON.SetType("a.b")
	require.NoError(t, notJSON.SetData("application/json", []byte("{")))

	untyped := cloudevents.New()
	untyped.Context = &cloudevents.EventContextV1{
		ID: "1", Source: *types.ParseURIRef("/s"), Type: "a.b", Extensions: map[string]any{"x": []int{1}},
	}

	for _, test := range []struct {
		name   string
		tenant string
		event  cloudevents.Event
		fields []string
	}{
		{"everything", "ACME", broken, []string{"ce-bad_name", "ce-data", "ce-data", "ce-id", "ce-source", "ce-type", "tenant"}},
		{"nothing set", "acme", cloudevents.New(), []string{"ce-id", "ce-source", "ce-type"}},
		{"no event", "acme", cloudevents.Event{}, []string{"data"}},
		{"version 0.3", "acme", old, []string{"ce-specversion"}},
		{"extension without a type", "acme", untyped, []string{"ce-x"}},
		{"data is no JSON", "acme", notJSON, []string{"data"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := event.NewMessage(test.tenant, test.event)
			assert.Equal(t, test.fields, fields(t, err), "%v", err)
			_, err = event.NewStructuredMessage(test.tenant, test.event)
			assert.Equal(t, test.fields, fields(t, err), "%v", err)
		})
	}
}

func fields(t *testing.T, err error) []string {
	t.Helper()
	var invalid *event.InvalidError
	require.ErrorAs(t, err, &invalid)
	var out []string
	for _, reason := range invalid.Reasons {
		out = append(out, reason.Field)
	}
	return out
}

func TestSubject(t *testing.T) {
	t.Parallel()
	got, err := event.Subject("acme", "order.created")
	require.NoError(t, err)
	assert.Equal(t, subject, got)
	_, err = event.Subject("a b", "x y")
	assert.Equal(t, []string{"ce-type", "tenant"}, fields(t, err))
}

func BenchmarkNewMessage(b *testing.B) {
	e := fullEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.NewMessage("acme", e); err != nil {
			b.Fatal(err)
		}
	}
}
