package telemetry

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func newTracer(tb testing.TB, r *Recorder) trace.Tracer {
	tb.Helper()
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(r),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "unit"))),
	)
	tb.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return provider.Tracer("test")
}

func names(spans []Span) []string {
	var n []string
	for _, s := range spans {
		n = append(n, s.Name)
	}
	return n
}

func TestRecorderKeepsWholeSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Recorder
		tracer := newTracer(t, &r)
		ctx, root := tracer.Start(t.Context(), "root", trace.WithSpanKind(trace.SpanKindProducer))
		_, child := tracer.Start(ctx, "child", trace.WithLinks(trace.Link{SpanContext: root.SpanContext(), Attributes: []attribute.KeyValue{attribute.Bool("l", true)}}))
		child.SetAttributes(attribute.String("k", "v"))
		child.SetStatus(codes.Error, "broken")
		<-time.After(3 * time.Second)
		child.End()
		id := root.SpanContext().TraceID()
		assert.Equal(t, []string{"child"}, names(r.Trace(id)), "only what has ended")
		root.End()

		spans := r.Trace(id)
		require.Equal(t, []string{"root", "child"}, names(spans))
		assert.False(t, spans[0].Parent.IsValid())
		assert.Equal(t, trace.SpanKindProducer, spans[0].Kind)
		got := spans[1]
		assert.Equal(t, root.SpanContext().SpanID(), got.Parent)
		assert.Equal(t, "unit", got.Service)
		assert.Equal(t, 3*time.Second, got.Duration())
		assert.Equal(t, codes.Error, got.Status)
		assert.Equal(t, "broken", got.StatusText)
		require.Len(t, got.Links, 1)
		assert.Equal(t, root.SpanContext().SpanID(), got.Links[0].SpanContext.SpanID())
		value, ok := got.Attribute("k")
		assert.True(t, ok)
		assert.Equal(t, "v", value.AsString())
		_, ok = got.Attribute("none")
		assert.False(t, ok)
		assert.Empty(t, r.Trace(trace.TraceID{1}))
	})
}

// In a bubble every span has the same start, so that the order is the ring's.
func TestRecorderForgetsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(3)
		tracer := newTracer(t, r)
		for i := range 5 {
			_, s := tracer.Start(t.Context(), strconv.Itoa(i))
			s.End()
		}
		assert.Equal(t, []string{"2", "3", "4"}, names(r.Spans()))
		assert.Equal(t, uint64(2), r.Evicted())
		require.NoError(t, r.ForceFlush(t.Context()))
		require.NoError(t, r.Shutdown(t.Context()))
		assert.Len(t, r.Spans(), 3, "still readable after shutdown")
	})
}

func TestRecorderDefaultLimit(t *testing.T) {
	r := NewRecorder(-1)
	tracer := newTracer(t, r)
	for range DefaultRecorderLimit + 1 {
		_, s := tracer.Start(t.Context(), "s")
		s.End()
	}
	assert.Len(t, r.Spans(), DefaultRecorderLimit)
	assert.Equal(t, uint64(1), r.Evicted())
}

func TestRecorderWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Recorder
		tracer := newTracer(t, &r)
		ctx, root := tracer.Start(t.Context(), "root")
		defer root.End()
		id := root.SpanContext().TraceID()
		go func() {
			for i := range 3 {
				<-time.After(time.Minute)
				_, s := tracer.Start(ctx, strconv.Itoa(i))
				s.End()
			}
		}()
		begin := time.Now()
		spans, err := r.Wait(t.Context(), id, func(s []Span) bool { return len(s) == 3 })
		require.NoError(t, err)
		assert.Equal(t, []string{"0", "1", "2"}, names(spans))
		assert.Equal(t, 3*time.Minute, time.Since(begin), "woken by the third span, not before")

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		spans, err = r.Wait(short, id, func(s []Span) bool { return len(s) == 4 })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "after 3 spans")
		assert.Len(t, spans, 3)
	})
}

func TestRecorderConcurrently(t *testing.T) {
	r := NewRecorder(1000)
	tracer := newTracer(t, r)
	ctx, root := tracer.Start(t.Context(), "root")
	defer root.End()
	id := root.SpanContext().TraceID()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				_, s := tracer.Start(ctx, "s")
				s.End()
			}
		})
		wg.Go(func() {
			_, err := r.Wait(t.Context(), id, func(s []Span) bool { return len(s) >= 200 })
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.Len(t, r.Trace(id), 200)
}

func BenchmarkRecorderOnEnd(b *testing.B) {
	r := NewRecorder(0)
	tracer := newTracer(b, r)
	_, s := tracer.Start(b.Context(), "s")
	s.End()
	ended := r.ring[0]
	b.ReportAllocs()
	for b.Loop() {
		r.OnEnd(ended)
	}
}
