package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// DefaultRecorderLimit is how many spans a zero Recorder keeps.
const DefaultRecorderLimit = 4096

// Recorder is a span processor that keeps the spans that ended last, in memory.
// The demo and tests read traces back from it. The zero value is ready to use
// and keeps DefaultRecorderLimit spans. One Recorder may serve several
// Telemetries at once and stays readable after their Shutdown. It must not be
// copied after first use.
type Recorder struct {
	mu      sync.Mutex
	limit   int
	ring    []sdktrace.ReadOnlySpan // at most limit; oldest at next once full
	next    int
	evicted uint64
	changed chan struct{} // closed by the next span; nil while nobody waits
}

var _ sdktrace.SpanProcessor = (*Recorder)(nil)

// NewRecorder makes a Recorder that keeps the last limit spans. A limit below 1
// means DefaultRecorderLimit.
func NewRecorder(limit int) *Recorder {
	return &Recorder{limit: limit}
}

// Span is a span that ended, as a plain value.
type Span struct {
	TraceID trace.TraceID
	SpanID  trace.SpanID
	// Parent is not valid (all zero) for the root of a trace.
	Parent trace.SpanID
	// Service is the resource's service.name.
	Service string
	Name    string
	Kind    trace.SpanKind
	Start   time.Time
	End     time.Time
	// Attributes stand in the order in which they were set.
	Attributes []attribute.KeyValue
	Links      []trace.Link
	Status     codes.Code
	// StatusText says what went wrong; only with the status codes.Error.
	StatusText string
}

// Duration is the time from start to end.
func (s Span) Duration() time.Duration { return s.End.Sub(s.Start) }

// Attribute gives the value of an attribute and whether the span has it.
func (s Span) Attribute(key attribute.Key) (attribute.Value, bool) {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value, true
		}
	}
	return attribute.Value{}, false
}

// OnStart implements sdktrace.SpanProcessor. Spans count when they end.
func (r *Recorder) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor. It keeps the span and, at the limit,
// forgets the oldest one.
func (r *Recorder) OnEnd(s sdktrace.ReadOnlySpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit < 1 {
		r.limit = DefaultRecorderLimit
	}
	if len(r.ring) < r.limit {
		r.ring = append(r.ring, s)
	} else {
		r.ring[r.next] = s
		r.next = (r.next + 1) % r.limit
		r.evicted++
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Shutdown implements sdktrace.SpanProcessor. It keeps what was recorded.
func (r *Recorder) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor. There is nothing to flush.
func (r *Recorder) ForceFlush(context.Context) error { return nil }

// Evicted counts the spans that were forgotten because of the limit. A trace
// may be incomplete when it is not zero.
func (r *Recorder) Evicted() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.evicted
}

// Trace gives the spans of one trace that have ended, ordered by their start, a
// parent always before its children of the same instant.
func (r *Recorder) Trace(id trace.TraceID) []Span {
	spans, _ := r.collect(func(s sdktrace.ReadOnlySpan) bool { return s.SpanContext().TraceID() == id }, false)
	return spans
}

// Spans gives every span that is kept, of all traces, ordered by start.
func (r *Recorder) Spans() []Span {
	spans, _ := r.collect(func(sdktrace.ReadOnlySpan) bool { return true }, false)
	return spans
}

// Wait gives the spans of one trace as soon as enough says that they are
// enough. It asks at once and again whenever a span has ended. When the context
// ends first, the spans so far come with an error that wraps the context's.
func (r *Recorder) Wait(ctx context.Context, id trace.TraceID, enough func([]Span) bool) ([]Span, error) {
	for {
		spans, changed := r.collect(func(s sdktrace.ReadOnlySpan) bool { return s.SpanContext().TraceID() == id }, true)
		if enough(spans) {
			return spans, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return spans, fmt.Errorf("trace %s is not complete after %d spans: %w", id, len(spans), context.Cause(ctx))
		}
	}
}

// collect gives the wanted spans and, when asked, a channel that is closed when
// there may be more. Both are taken under one lock so that no span slips between.
func (r *Recorder) collect(want func(sdktrace.ReadOnlySpan) bool, watch bool) ([]Span, <-chan struct{}) {
	r.mu.Lock()
	var found []sdktrace.ReadOnlySpan
	for i := range r.ring {
		if s := r.ring[(r.next+i)%len(r.ring)]; want(s) { // oldest first
			found = append(found, s)
		}
	}
	if watch && r.changed == nil {
		r.changed = make(chan struct{})
	}
	changed := r.changed
	r.mu.Unlock()

	spans := make([]Span, 0, len(found))
	for _, s := range found {
		spans = append(spans, newSpan(s))
	}
	sortSpans(spans)
	return spans, changed
}

// sortSpans orders by start. Equal starts are common under a coarse or virtual
// clock: there a parent comes before its children, and otherwise the order in
// which they were given stays, which for a Recorder is the order of their ends.
func sortSpans(spans []Span) {
	parents := make(map[spanKey]spanKey, len(spans))
	for _, s := range spans {
		parents[spanKey{s.TraceID, s.SpanID}] = spanKey{s.TraceID, s.Parent}
	}
	depths := make(map[spanKey]int, len(spans))
	for start := range parents {
		depth := 0
		// Bounded, because broken spans may be each other's parents.
		for key, ok := parents[start]; ok && depth < len(spans); key, ok = parents[key] {
			depth++
		}
		depths[start] = depth
	}
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(
			a.Start.Compare(b.Start),
			cmp.Compare(depths[spanKey{a.TraceID, a.SpanID}], depths[spanKey{b.TraceID, b.SpanID}]),
		)
	})
}

// spanKey names a span across traces.
type spanKey struct {
	trace trace.TraceID
	span  trace.SpanID
}

func newSpan(s sdktrace.ReadOnlySpan) Span {
	span := Span{
		TraceID:    s.SpanContext().TraceID(),
		SpanID:     s.SpanContext().SpanID(),
		Parent:     s.Parent().SpanID(),
		Name:       s.Name(),
		Kind:       s.SpanKind(),
		Start:      s.StartTime(),
		End:        s.EndTime(),
		Attributes: slices.Clone(s.Attributes()),
		Status:     s.Status().Code,
		StatusText: s.Status().Description,
	}
	if service, ok := s.Resource().Set().Value("service.name"); ok {
		span.Service = service.AsString()
	}
	for _, l := range s.Links() {
		span.Links = append(span.Links, trace.Link{SpanContext: l.SpanContext, Attributes: slices.Clone(l.Attributes)})
	}
	return span
}
