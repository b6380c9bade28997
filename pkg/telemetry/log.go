package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// Format is how log records are written.
type Format string

// The formats. Anything else that reaches NewLogger is written as text.
const (
	FormatText Format = "text" // key=value lines, for people
	FormatJSON Format = "json" // one JSON object a line, for machines
)

// UnmarshalText accepts "text" and "json" and refuses anything else, so that a
// configuration with a Format in it is checked where it is read. It implements
// encoding.TextUnmarshaler.
func (f *Format) UnmarshalText(text []byte) error {
	switch v := Format(text); v {
	case FormatText, FormatJSON:
		*f = v
		return nil
	default:
		return fmt.Errorf("log format %q is unknown; use %s or %s", text, FormatText, FormatJSON)
	}
}

// NewLogger makes a logger that writes records of the level and above to w, one
// line each. A record that is logged with a context inside a span gets trace_id
// and span_id (hexadecimal, W3C Trace Context) at its top level, also from a
// logger with groups, so that they are always found under the same name.
func NewLogger(w io.Writer, format Format, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if format == FormatJSON {
		h = slog.NewJSONHandler(w, options)
	}
	return slog.New(traceHandler{root: h, full: h})
}

// traceHandler adds the span's ids. slog would put attributes that are added
// late into the innermost open group, so the handler keeps the one from before
// the first group and, for records inside a span, opens the groups again after
// adding the ids.
type traceHandler struct {
	root  slog.Handler // before the first group
	steps []step       // since then
	full  slog.Handler // root with all steps done
}

// step is one WithGroup or WithAttrs call.
type step struct {
	group      string // a group when not empty
	attributes []slog.Attr
}

// Enabled implements slog.Handler.
func (h traceHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.full.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h traceHandler) Handle(ctx context.Context, record slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return h.full.Handle(ctx, record)
	}
	traceID, spanID := slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String())
	if len(h.steps) == 0 {
		record = record.Clone() // another handler may hold the same record
		record.AddAttrs(traceID, spanID)
		return h.full.Handle(ctx, record)
	}
	handler := h.root.WithAttrs([]slog.Attr{traceID, spanID})
	for _, s := range h.steps {
		handler = s.apply(handler)
	}
	return handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h traceHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	if len(attributes) == 0 {
		return h
	}
	return h.with(step{attributes: attributes})
}

// WithGroup implements slog.Handler.
func (h traceHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(step{group: name})
}

func (h traceHandler) with(s step) traceHandler {
	h.full = s.apply(h.full)
	if s.group == "" && len(h.steps) == 0 {
		h.root = h.full
		return h
	}
	h.steps = append(slices.Clip(h.steps), s) // clipped: siblings must not share the array
	return h
}

func (s step) apply(h slog.Handler) slog.Handler {
	if s.group != "" {
		return h.WithGroup(s.group)
	}
	return h.WithAttrs(s.attributes)
}
