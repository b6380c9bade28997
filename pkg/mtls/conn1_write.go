package mtls

import (
	"strconv"

	"go.opentelemetry.io/otel/trace"
)

// writeHeader fills c.out with request line and fields; Pool.Do has checked them.
func (c *http1) writeHeader(r *Request, span trace.SpanContext, expect bool) {
	b := c.out[:0]
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\nUser-Agent: "...)
	b = append(b, c.options.UserAgent...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	if expect {
		b = append(b, "\r\nExpect: 100-continue"...)
	}
	for name, values := range r.Header {
		if !forwarded(name) {
			continue
		}
		for _, value := range values {
			b = appendField(b, name, value)
		}
	}
	if span.IsValid() {
		b = appendField(b, "traceparent", traceparent(span))
		if state := span.TraceState().String(); state != "" {
			b = appendField(b, "tracestate", state)
		}
	}
	b = append(b, "\r\n\r\n"...)
	c.out = b
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, "\r\n"...)
	b = append(b, name...)
	b = append(b, ": "...)
	return append(b, value...)
}

// traceparent is the W3C form of a span context (Trace Context section 3.2).
func traceparent(span trace.SpanContext) string {
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-" + span.TraceFlags().String()
}
