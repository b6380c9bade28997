package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/tests/kit"
)

func named(spans []telemetry.Span, prefix string) []telemetry.Span {
	var found []telemetry.Span
	for _, span := range spans {
		if strings.HasPrefix(span.Name, prefix) {
			found = append(found, span)
		}
	}
	return found
}

func text(t *testing.T, span telemetry.Span, key attribute.Key) string {
	t.Helper()
	value, ok := span.Attribute(key)
	require.True(t, ok, "span %q carries %s", span.Name, key)
	return value.String()
}

// TestOneTraceFromProducerToReceiver checks DESIGN.md section 9: one trace, the right parents, links from a retry to the
// attempt before and from a reused connection to its handshake, and no secret anywhere.
func TestOneTraceFromProducerToReceiver(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 200))
		e := w.Apply(r.Document("acme", "orders", schedule("20s")))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"secret":"payload"}`)
		w.Pass(time.Minute)

		receipts := w.Receipts()
		require.Len(t, receipts, 2)
		id, err := trace.TraceIDFromHex(receipts[0].Trace)
		require.NoError(t, err)
		assert.Equal(t, receipts[0].Trace, receipts[1].Trace, "the retry is in the same trace")
		spans := w.Spans.Trace(id)
		publish, match, sign, deliver := named(spans, "publish "), named(spans, "match "), named(spans, "sign "), named(spans, "deliver ")
		handshake, post := named(spans, "tls.handshake"), named(spans, "POST")
		require.Len(t, publish, 1)
		require.Len(t, match, 1)
		require.Len(t, sign, 4, "two schemes, twice")
		require.Len(t, deliver, 2)
		require.Len(t, handshake, 1, "the retry reuses the connection")
		require.Len(t, post, 2)

		assert.Equal(t, publish[0].SpanID, match[0].Parent)
		for _, span := range append(sign, deliver...) {
			assert.Equal(t, match[0].SpanID, span.Parent, span.Name)
		}
		assert.Equal(t, deliver[0].SpanID, handshake[0].Parent)
		assert.Equal(t, deliver[0].SpanID, post[0].Parent)
		assert.Equal(t, deliver[1].SpanID, post[1].Parent)
		for i, hit := range r.Hits() {
			assert.Contains(t, hit.Header.Get("traceparent"), post[i].SpanID.String(), "the receiver continues the POST span")
		}
		var linked []trace.SpanID
		for _, link := range deliver[1].Links {
			linked = append(linked, link.SpanContext.SpanID())
		}
		assert.ElementsMatch(t, []trace.SpanID{deliver[0].SpanID, handshake[0].SpanID}, linked)

		assert.Equal(t, "unavailable", text(t, deliver[0], "handfast.outcome"))
		assert.Equal(t, "delivered", text(t, deliver[1], "handfast.outcome"))
		assert.Equal(t, "1", text(t, match[0], "handfast.endpoints.matched"))
		assert.Equal(t, kit.ClientName, text(t, handshake[0], "tls.client.name"))
		assert.Equal(t, "TLS 1.3", text(t, handshake[0], "tls.protocol.version"))
		assert.Equal(t, "true", text(t, post[1], "network.connection.reused"))
		assert.Equal(t, "503", text(t, post[0], "http.response.status_code"))
		noSecrets(t, w, spans, e.URL.RequestURI(), r.Hits()[0].Header.Get("webhook-signature"))
	})
}

// noSecrets looks for what must never be told: keys, signatures, payloads, and the path of a webhook.
func noSecrets(t *testing.T, w *kit.World, spans []telemetry.Span, secrets ...string) {
	t.Helper()
	secrets = append(secrets, "payload")
	for _, key := range w.Keys(w.Apply(w.Document("hooks.example.com", "acme", "orders")).Key()) {
		secrets = append(secrets, key.Reveal())
	}
	var told strings.Builder
	told.WriteString(w.LogText())
	for _, span := range spans {
		told.WriteString(span.Name + span.StatusText)
		for _, a := range span.Attributes {
			told.WriteString(" " + a.Value.String())
		}
	}
	for _, got := range w.Receipts() {
		told.WriteString(got.Detail + got.Advice + got.URL + strings.Join(got.Keys, " "))
	}
	for _, secret := range secrets {
		assert.NotContains(t, told.String(), secret)
	}
}
