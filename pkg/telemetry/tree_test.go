package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

func span(id, parent byte, service, name string, kind trace.SpanKind, start, duration time.Duration) Span {
	epoch := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	s := Span{
		TraceID: trace.TraceID{15: 0xaa}, SpanID: trace.SpanID{7: id}, Service: service, Name: name, Kind: kind,
		Start: epoch.Add(start), End: epoch.Add(start + duration),
	}
	if parent != 0 {
		s.Parent = trace.SpanID{7: parent}
	}
	return s
}

func TestTree(t *testing.T) {
	const ms = time.Millisecond
	first := span(4, 2, "dispatcher", "deliver shop/orders", trace.SpanKindConsumer, 5*ms, 21*ms)
	first.Status, first.StatusText = codes.Error, "receiver said 503"
	first.Attributes = []attribute.KeyValue{attribute.Int("attempt", 1), attribute.String("secret", "no"), attribute.String("outcome", "unavailable")}
	post := span(6, 4, "dispatcher", "POST", trace.SpanKindClient, 15*ms, 10*ms)
	retry := span(7, 2, "dispatcher", "deliver shop/orders", trace.SpanKindConsumer, time.Hour, 1234567*time.Nanosecond)
	retry.Attributes = []attribute.KeyValue{attribute.String("outcome", "delivered"), attribute.Int("attempt", 2)}
	retry.Links = []trace.Link{
		{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: first.TraceID, SpanID: first.SpanID})},
		{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 0xbb}, SpanID: trace.SpanID{7: 9}})},
	}
	spans := []Span{ // in the order in which they end, as a processor sees them
		span(3, 2, "signer", "sign v1", trace.SpanKindInternal, 2*ms, 80*time.Microsecond),
		span(2, 1, "signer", "match order.created", trace.SpanKindConsumer, ms, 3*ms),
		span(1, 0, "shop", "publish order.created", trace.SpanKindProducer, 0, 2*ms),
		span(5, 4, "dispatcher", "tls.handshake", trace.SpanKindInternal, 6*ms, 9*ms),
		post, first, retry,
	}
	want := `
trace 000000000000000000000000000000aa
publish order.created      shop        producer  +0s      2ms
└─ match order.created     signer      consumer  +1ms     3ms
   ├─ sign v1              signer      internal  +2ms     80µs
   ├─ deliver shop/orders  dispatcher  consumer  +5ms     21ms    attempt=1 outcome=unavailable error receiver said 503
   │  ├─ tls.handshake     dispatcher  internal  +6ms     9ms
   │  └─ POST              dispatcher  client    +15ms    10ms
   └─ deliver shop/orders  dispatcher  consumer  +1h0m0s  1.23ms  attempt=2 outcome=delivered → deliver shop/orders (0000000000000004) → 000000000000000000000000000000bb/0000000000000009
`
	assert.Equal(t, strings.TrimPrefix(want, "\n"), Tree(spans, "attempt", "outcome"))
}

func TestTreeSeparatesTraces(t *testing.T) {
	later, earlier := span(1, 0, "a", "later", trace.SpanKindServer, time.Second, 0), span(1, 0, "a", "earlier", trace.SpanKindServer, 0, 0)
	later.TraceID = trace.TraceID{15: 0x01}
	want := `
trace 000000000000000000000000000000aa
earlier  a  server  +0s  0s

trace 00000000000000000000000000000001
later  a  server  +0s  0s
`
	assert.Equal(t, strings.TrimPrefix(want, "\n"), Tree([]Span{later, earlier}))
	assert.Empty(t, Tree(nil))
}

// Whatever the parents say, no span disappears and none is drawn twice.
func TestTreeDrawsOddParents(t *testing.T) {
	internal := trace.SpanKindInternal
	tests := map[string][]Span{
		"parent missing":     {span(2, 9, "s", "two", internal, 0, 0)},
		"its own parent":     {span(2, 2, "s", "two", internal, 0, 0)},
		"each other's":       {span(2, 3, "s", "two", internal, 0, 0), span(3, 2, "s", "three", internal, 1, 0)},
		"circle beside root": {span(1, 0, "s", "one", internal, 0, 0), span(2, 3, "s", "two", internal, 0, 0), span(3, 2, "s", "three", internal, 1, 0)},
		"child before root":  {span(2, 1, "s", "two", internal, 0, 0), span(1, 0, "s", "one", internal, 5, 0)},
	}
	for name, spans := range tests {
		t.Run(name, func(t *testing.T) {
			tree := Tree(spans)
			for _, s := range spans {
				assert.Equal(t, 1, strings.Count(tree, s.Name+" "), "%s in\n%s", s.Name, tree)
			}
			assert.NotContains(t, tree, "+-", "starts are told from the earliest span")
		})
	}
}

// Names, errors and attributes may come from a receiver or a certificate.
func TestTreeQuotesControlCharacters(t *testing.T) {
	s := span(1, 0, "evil\x1b[2J", "line\nbreak", trace.SpanKindClient, 0, 0)
	s.Status, s.StatusText = codes.Error, "bell\a"
	s.Attributes = []attribute.KeyValue{attribute.String("k", "hidden\u202etext\xff")}
	tree := Tree([]Span{s}, "k")
	assert.NotContains(t, tree, "\x1b")
	assert.NotContains(t, tree, "\a")
	assert.NotContains(t, tree, "\u202e")
	assert.Equal(t, 2, strings.Count(tree, "\n"), "%s", tree)
	assert.Contains(t, tree, `"line\nbreak"`)
}

// Under a virtual clock everything may start and end at one instant.
func TestSortSpansAtOneInstant(t *testing.T) {
	kind := trace.SpanKindInternal
	spans := []Span{
		span(9, 2, "s", "grandchild", kind, 0, 0), span(2, 7, "s", "first child", kind, 0, 0),
		span(1, 7, "s", "second child", kind, 0, 5), span(7, 0, "s", "root", kind, 0, 9),
	}
	sortSpans(spans)
	assert.Equal(t, []string{"root", "first child", "second child", "grandchild"}, names(spans))
}
