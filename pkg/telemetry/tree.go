package telemetry

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Tree draws spans as indented trees, one for each trace, in the order in which
// the traces started:
//
//	trace 5b8aa5a2d2c872e8321cf37308d69df2
//	publish order.created       shop        producer  +0s       1.2ms
//	└─ match order.created      signer      consumer  +2.1ms    4ms    endpoints=1
//	   └─ sign v1               signer      internal  +2.4ms    80µs
//
// The columns are name, service, kind, start after the trace's first span,
// duration, and the attributes asked for, those that the span has, in the order
// asked. An error and the links follow on the same line; a link names the span
// that it leads to when that span is among those given. A span whose parent is
// missing is drawn as a root. Every span is drawn exactly once, whatever its
// parents say, and text from outside is quoted when it holds anything that a
// terminal would not print.
func Tree(spans []Span, attributes ...attribute.Key) string {
	f := newForest(spans)
	var b strings.Builder
	for i, id := range f.traces {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "trace %s\n", id)
		f.write(&b, f.rows(id), f.spans[id][0].Start, attributes)
	}
	return b.String()
}

// forest is the spans with their children.
type forest struct {
	traces   []trace.TraceID // by first start
	spans    map[trace.TraceID][]Span
	byKey    map[spanKey]Span
	children map[spanKey][]Span
}

// row is one line: a span and what is drawn in front of its name.
type row struct {
	indent string
	span   Span
}

func newForest(spans []Span) forest {
	spans = slices.Clone(spans)
	sortSpans(spans)
	f := forest{
		spans:    map[trace.TraceID][]Span{},
		byKey:    make(map[spanKey]Span, len(spans)),
		children: map[spanKey][]Span{},
	}
	for _, s := range spans {
		if _, ok := f.spans[s.TraceID]; !ok {
			f.traces = append(f.traces, s.TraceID)
		}
		f.spans[s.TraceID] = append(f.spans[s.TraceID], s)
		f.byKey[spanKey{s.TraceID, s.SpanID}] = s
		parent := spanKey{s.TraceID, s.Parent}
		f.children[parent] = append(f.children[parent], s)
	}
	return f
}

// rows lays one trace out. Roots come first; whatever a walk from them did not
// reach (spans that are each other's parents) is then drawn as roots as well.
func (f forest) rows(id trace.TraceID) []row {
	var rows []row
	seen := map[trace.SpanID]bool{}
	var walk func(s Span, lead, branch, follow string)
	walk = func(s Span, lead, branch, follow string) {
		if seen[s.SpanID] {
			return
		}
		seen[s.SpanID] = true
		rows = append(rows, row{indent: lead + branch, span: s})
		children := slices.DeleteFunc(slices.Clone(f.children[spanKey{id, s.SpanID}]), func(c Span) bool { return seen[c.SpanID] })
		for i, c := range children {
			if i == len(children)-1 {
				walk(c, lead+follow, "└─ ", "   ")
			} else {
				walk(c, lead+follow, "├─ ", "│  ")
			}
		}
	}
	for _, s := range f.spans[id] {
		if _, ok := f.byKey[spanKey{id, s.Parent}]; !ok {
			walk(s, "", "", "")
		}
	}
	for _, s := range f.spans[id] {
		walk(s, "", "", "")
	}
	return rows
}

func (f forest) write(b *strings.Builder, rows []row, start time.Time, keys []attribute.Key) {
	const columns = 5
	var width [columns]int
	cells := make([][columns]string, len(rows))
	for i, r := range rows {
		cells[i] = [columns]string{
			r.indent + printable(r.span.Name),
			printable(r.span.Service),
			r.span.Kind.String(),
			"+" + brief(r.span.Start.Sub(start)),
			brief(r.span.Duration()),
		}
		for c, cell := range cells[i] {
			width[c] = max(width[c], utf8.RuneCountInString(cell))
		}
	}
	for i, r := range rows {
		var line strings.Builder
		for c, cell := range cells[i] {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", width[c]-utf8.RuneCountInString(cell)+2))
		}
		line.WriteString(strings.Join(f.notes(r.span, keys), " "))
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
}

// notes are what follows the columns: attributes, the error, links.
func (f forest) notes(s Span, keys []attribute.Key) []string {
	var notes []string
	for _, k := range keys {
		if v, ok := s.Attribute(k); ok {
			notes = append(notes, string(k)+"="+printable(v.String()))
		}
	}
	if s.Status == codes.Error {
		notes = append(notes, strings.TrimSpace("error "+printable(s.StatusText)))
	}
	for _, l := range s.Links {
		target, ok := f.byKey[spanKey{l.SpanContext.TraceID(), l.SpanContext.SpanID()}]
		if ok {
			notes = append(notes, fmt.Sprintf("→ %s (%s)", printable(target.Name), target.SpanID))
		} else {
			notes = append(notes, fmt.Sprintf("→ %s/%s", l.SpanContext.TraceID(), l.SpanContext.SpanID()))
		}
	}
	return notes
}

// printable keeps plain text and quotes anything that could move a cursor,
// colour a terminal or start a new line.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToGraphic(s)
	}
	return s
}

// brief rounds a duration to about three digits, which is what a reader takes in.
func brief(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d.Abs() >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
