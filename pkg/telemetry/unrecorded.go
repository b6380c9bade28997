package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// Unrecorded reports whether ctx stands in a trace whose caller has decided not to record it (the sampled flag of W3C
// Trace Context is off). Hot paths then make no span at all and pass the caller's context on: a sampler that follows its
// parent, which is OpenTelemetry's default, would drop the span in any case, after everything for it had been built.
func Unrecorded(ctx context.Context) bool {
	span := trace.SpanContextFromContext(ctx)
	return span.IsValid() && !span.IsSampled()
}
