package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// scripted is an OTLP exporter that fails as told.
type scripted struct {
	err   error
	block bool // until its context ends
}

func (s *scripted) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	if s.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.err
}

func (*scripted) Shutdown(context.Context) error { return nil }

// A collector that is down for three and a half minutes: four warnings at most,
// one for each minute begun, and together they count every span lost.
func TestExporterWarnsOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		next := &scripted{err: errors.New("connection refused")}
		e := newExporter(next, "http://c:4317", NewLogger(&b, FormatJSON, slog.LevelInfo))
		batch := make([]sdktrace.ReadOnlySpan, 3)

		for range 42 { // every five seconds
			require.NoError(t, e.ExportSpans(t.Context(), batch), "a failure must not reach the SDK's global handler")
			<-time.After(5 * time.Second)
		}
		require.NoError(t, e.Shutdown(t.Context()))

		lines := decodeLines(t, &b)
		var lost []any
		for _, line := range lines {
			assert.Equal(t, "WARN", line["level"])
			assert.Equal(t, "http://c:4317", line["collector"])
			lost = append(lost, line["spans_lost"])
		}
		assert.Equal(t, []any{3.0, 36.0, 36.0, 36.0, 15.0}, lost, "42 batches of 3 spans")
	})
}

func TestExporterTellsRecoveryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		next := &scripted{}
		e := newExporter(next, "http://c:4317", NewLogger(&b, FormatJSON, slog.LevelInfo))
		batch := make([]sdktrace.ReadOnlySpan, 1)
		for _, err := range []error{nil, errors.New("down"), nil, nil, errors.New("down"), nil} {
			next.err = err
			require.NoError(t, e.ExportSpans(t.Context(), batch))
		}
		lines := decodeLines(t, &b)
		require.Len(t, lines, 2, "the second failure came within the minute")
		assert.Contains(t, lines[0]["msg"], "could not be exported")
		assert.Contains(t, lines[1]["msg"], "works again")
	})
}

func TestExporterAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExporter(&scripted{block: true}, "http://c:4317", slog.New(slog.DiscardHandler))
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			_ = e.ExportSpans(context.Background(), nil)
		}()
		synctest.Wait()
		select {
		case <-returned:
			t.Fatal("the export should still hang")
		default:
		}
		require.NoError(t, e.abandon(t.Context()))
		require.NoError(t, e.abandon(t.Context()), "twice is fine")
		<-returned
		_ = e.ExportSpans(context.Background(), nil) // a later one ends at once; the bubble would report a deadlock
	})
}
