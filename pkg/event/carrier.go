package event

import (
	"strings"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
)

// Carrier lets an OpenTelemetry propagator read and write the headers of a NATS
// message. NATS headers are case-sensitive and W3C Trace Context section 2.3
// names its own in lower case, so Set writes lower case and Get takes any.
// Convert a header that is not nil; Set on a nil one panics as a nil map does.
type Carrier nats.Header

var _ propagation.TextMapCarrier = Carrier(nil)

// Get returns the first value of a header whatever its case, and "" when there
// is none. The lower-case spelling wins over others.
func (c Carrier) Get(key string) string {
	lower := strings.ToLower(key)
	if values := c[lower]; len(values) > 0 {
		return values[0]
	}
	best := ""
	for name, values := range c {
		// The smallest name wins, so that the answer does not depend on map order.
		if len(values) > 0 && strings.EqualFold(name, lower) && (best == "" || name < best) {
			best = name
		}
	}
	if best == "" {
		return ""
	}
	return c[best][0]
}

// Set writes a header in lower case and removes every other spelling of it.
func (c Carrier) Set(key, value string) {
	lower := strings.ToLower(key)
	for name := range c {
		if name != lower && strings.EqualFold(name, lower) {
			delete(c, name)
		}
	}
	c[lower] = []string{value}
}

// Keys returns the names of all headers as they are spelt.
func (c Carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for name := range c {
		keys = append(keys, name)
	}
	return keys
}
