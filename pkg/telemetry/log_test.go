package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"testing"
	"testing/slogtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

func insideSpan() context.Context {
	return trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0x4b, 0xf9, 15: 0x36}, SpanID: trace.SpanID{0xf0, 7: 0xb7}, TraceFlags: trace.FlagsSampled,
	}))
}

const (
	insideTraceID = "4bf90000000000000000000000000036"
	insideSpanID  = "f0000000000000b7"
)

func decodeLines(t *testing.T, b *bytes.Buffer) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for decoder := json.NewDecoder(b); ; {
		line := map[string]any{}
		err := decoder.Decode(&line)
		if err == io.EOF {
			return lines
		}
		require.NoError(t, err)
		lines = append(lines, line)
	}
}

// The handler must be a correct slog.Handler before it is anything else.
func TestHandlerFollowsSlogRules(t *testing.T) {
	var b bytes.Buffer
	handler := NewLogger(&b, FormatJSON, slog.LevelDebug).Handler()
	require.NoError(t, slogtest.TestHandler(handler, func() []map[string]any { return decodeLines(t, &b) }))
}

func TestLoggerAddsIDsAtTopLevel(t *testing.T) {
	tests := map[string]struct {
		derive func(*slog.Logger) *slog.Logger
		want   map[string]any // beside level, msg and the ids
	}{
		"plain":      {func(l *slog.Logger) *slog.Logger { return l }, map[string]any{"n": 1.0}},
		"attributes": {func(l *slog.Logger) *slog.Logger { return l.With(slog.String("a", "b")) }, map[string]any{"a": "b", "n": 1.0}},
		"group": {
			func(l *slog.Logger) *slog.Logger { return l.WithGroup("g") },
			map[string]any{"g": map[string]any{"n": 1.0}},
		},
		"attributes, group, attributes, group": {
			func(l *slog.Logger) *slog.Logger {
				return l.With(slog.String("a", "b")).WithGroup("g").With(slog.String("c", "d")).WithGroup("h")
			},
			map[string]any{"a": "b", "g": map[string]any{"c": "d", "h": map[string]any{"n": 1.0}}},
		},
		"empty group and no attributes": {
			func(l *slog.Logger) *slog.Logger {
				return slog.New(l.Handler().WithGroup("").WithAttrs(nil))
			},
			map[string]any{"n": 1.0},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			logger := tt.derive(NewLogger(&b, FormatJSON, slog.LevelInfo))
			logger.InfoContext(insideSpan(), "inside", slog.Int("n", 1))
			logger.InfoContext(context.Background(), "outside", slog.Int("n", 1))
			lines := decodeLines(t, &b)
			require.Len(t, lines, 2)
			assert.Equal(t, insideTraceID, lines[0]["trace_id"])
			assert.Equal(t, insideSpanID, lines[0]["span_id"])
			assert.NotContains(t, lines[1], "trace_id")
			for i, line := range lines {
				for _, key := range []string{"time", "level", "msg", "trace_id", "span_id"} {
					delete(line, key)
				}
				assert.Equal(t, tt.want, line, "line %d", i)
			}
		})
	}
}

func TestSiblingLoggersDoNotMix(t *testing.T) {
	var b bytes.Buffer
	parent := NewLogger(&b, FormatJSON, slog.LevelInfo).WithGroup("g").With(slog.Int("x", 1)).With(slog.Int("y", 2))
	left, right := parent.With(slog.String("side", "left")), parent.With(slog.String("side", "right"))
	left.InfoContext(insideSpan(), "")
	right.InfoContext(insideSpan(), "")
	lines := decodeLines(t, &b)
	require.Len(t, lines, 2)
	assert.Equal(t, map[string]any{"x": 1.0, "y": 2.0, "side": "left"}, lines[0]["g"])
	assert.Equal(t, map[string]any{"x": 1.0, "y": 2.0, "side": "right"}, lines[1]["g"])
}

// One record may be shown to several handlers; adding to it must not show.
func TestHandleLeavesTheRecordAlone(t *testing.T) {
	var first, second bytes.Buffer
	record := slog.Record{Message: "m"}
	// A copy of a record shares the slice with its later attributes, and slog marks
	// with !BUG what two handlers have added there without cloning.
	for i := range 10 {
		record.AddAttrs(slog.Int("n", i))
	}
	for _, b := range []*bytes.Buffer{&first, &second} {
		require.NoError(t, NewLogger(b, FormatText, slog.LevelInfo).Handler().Handle(insideSpan(), record))
	}
	assert.NotContains(t, second.String(), "!BUG")
	assert.Equal(t, first.String(), second.String())
}

func TestLoggerFormatAndLevel(t *testing.T) {
	var b bytes.Buffer
	logger := NewLogger(&b, FormatText, slog.LevelWarn)
	logger.Info("quiet")
	logger.WarnContext(insideSpan(), "loud")
	assert.NotContains(t, b.String(), "quiet")
	assert.Contains(t, b.String(), `level=WARN msg=loud trace_id=`+insideTraceID+` span_id=`+insideSpanID)
}

func TestFormatUnmarshalText(t *testing.T) {
	for _, good := range []Format{FormatText, FormatJSON} {
		var f Format
		require.NoError(t, f.UnmarshalText([]byte(good)))
		assert.Equal(t, good, f)
	}
	for _, bad := range []string{"", "JSON", "yaml"} {
		f := FormatText
		require.ErrorContains(t, f.UnmarshalText([]byte(bad)), "use text or json", "%q", bad)
		assert.Equal(t, FormatText, f, "a refused value must not be stored")
	}
}

func BenchmarkLogger(b *testing.B) {
	logger := NewLogger(io.Discard, FormatJSON, slog.LevelInfo)
	grouped := logger.WithGroup("delivery").With(slog.String("endpoint", "orders"))
	for name, bench := range map[string]struct {
		logger *slog.Logger
		ctx    context.Context
	}{
		"outside span": {logger, context.Background()},
		"inside span":  {logger, insideSpan()},
		"grouped":      {grouped, insideSpan()},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.logger.LogAttrs(bench.ctx, slog.LevelInfo, "delivered", slog.Int("attempt", 1))
			}
		})
	}
}
