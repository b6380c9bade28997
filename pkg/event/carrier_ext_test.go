package event_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/event"
)

func TestCarrier(t *testing.T) {
	t.Parallel()
	header := nats.Header{"Traceparent": {"a"}, "TRACEPARENT": {"b"}, "tracestate": nil}
	carrier := event.Carrier(header)
	for range 5 {
		assert.Equal(t, "b", carrier.Get("traceparent"), "the choice must not depend on map order")
	}
	assert.Empty(t, carrier.Get("tracestate"))
	assert.Empty(t, carrier.Get("baggage"))

	carrier.Set("TraceParent", "c")
	assert.Equal(t, nats.Header{"traceparent": {"c"}, "tracestate": nil}, header)
	assert.Equal(t, "c", carrier.Get("Traceparent"))
	keys := carrier.Keys()
	slices.Sort(keys)
	assert.Equal(t, []string{"traceparent", "tracestate"}, keys)
}
