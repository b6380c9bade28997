package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// reportInterval is the shortest time between two log lines about an export
// that fails. A batch fails every few seconds while a collector is down.
const reportInterval = time.Minute

// newClient makes the OTLP exporter for a protocol. Neither of them connects
// before the first export, so a collector may come up later. They take
// endpoint, headers, certificates and timeouts from the environment.
func newClient(ctx context.Context, p protocol) (sdktrace.SpanExporter, error) {
	if p == protocolGRPC {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx) // picks protobuf or JSON by the same variables
}

// exporter stands between the SDK and an OTLP exporter, because the SDK hands
// a failed export to a process-wide error handler that prints every one of them.
// It logs failures itself, few of them, and can cut off an export at shutdown.
type exporter struct {
	next      sdktrace.SpanExporter
	collector string
	logger    *slog.Logger
	abandoned chan struct{} // closed when running exports must end
	once      sync.Once

	mu       sync.Mutex
	reported time.Time // last warning; zero before the first
	failing  bool      // a warning stands that no success has answered yet
	lost     int       // spans lost since the last warning
}

func newExporter(next sdktrace.SpanExporter, collector string, logger *slog.Logger) *exporter {
	return &exporter{next: next, collector: collector, logger: logger, abandoned: make(chan struct{})}
}

// ExportSpans exports and always returns nil: the failure is logged here.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		select {
		case <-e.abandoned:
			cancel()
		case <-ctx.Done():
		}
	}()
	e.record(ctx, e.next.ExportSpans(ctx, spans), len(spans))
	return nil
}

// Shutdown ends the exporter. Spans lost since the last warning are told now,
// since no later one will.
func (e *exporter) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	lost := e.lost
	e.lost = 0
	e.mu.Unlock()
	if lost > 0 {
		e.logger.WarnContext(ctx, "spans were lost before shutdown", slog.Int("spans_lost", lost), slog.String("collector", e.collector))
	}
	return e.next.Shutdown(ctx)
}

// abandon ends running and future exports at once. It never fails.
func (e *exporter) abandon(context.Context) error {
	e.once.Do(func() { close(e.abandoned) })
	return nil
}

// record counts what was lost and logs when it is time to.
func (e *exporter) record(ctx context.Context, err error, spans int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		if e.failing {
			e.failing = false
			e.logger.InfoContext(ctx, "span export works again", slog.String("collector", e.collector))
		}
		return
	}
	e.lost += spans
	now := time.Now()
	if !e.reported.IsZero() && now.Sub(e.reported) < reportInterval {
		return
	}
	e.logger.WarnContext(ctx, "spans could not be exported; deliveries are not affected",
		slog.Int("spans_lost", e.lost),
		slog.String("collector", e.collector),
		slog.String("error", err.Error()),
		slog.String("hint", "check that the collector is up, and OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_PROTOCOL"),
	)
	e.reported, e.failing, e.lost = now, true, 0
}
