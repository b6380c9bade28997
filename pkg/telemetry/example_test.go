package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/telemetry"
)

func Example() {
	ctx := context.Background()
	var recorder telemetry.Recorder
	tel, err := telemetry.Start(ctx, telemetry.Config{
		Service:    "signer",
		Processors: []sdktrace.SpanProcessor{&recorder},
	}, telemetry.NewLogger(os.Stderr, telemetry.FormatText, slog.LevelInfo))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = tel.Shutdown(context.WithoutCancel(ctx)) }()

	tracer := tel.TracerProvider().Tracer("example")
	ctx, match := tracer.Start(ctx, "match order.created", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.Int("endpoints", 1)))
	_, sign := tracer.Start(ctx, "sign v1", trace.WithAttributes(attribute.String("key.id", "k1")))
	sign.End()
	match.End()

	tree := telemetry.Tree(recorder.Trace(match.SpanContext().TraceID()), "endpoints", "key.id")
	// Ids and times differ from run to run.
	tree = regexp.MustCompile(`trace [0-9a-f]{32}`).ReplaceAllString(tree, "trace …")
	fmt.Print(regexp.MustCompile(` +\+\S+ +\S+s +`).ReplaceAllString(tree, "  "))
	// Output:
	// trace …
	// match order.created  signer  consumer  endpoints=1
	// └─ sign v1           signer  internal  key.id=k1
}

func ExampleNewLogger() {
	var out bytes.Buffer
	logger := telemetry.NewLogger(&out, telemetry.FormatText, slog.LevelInfo).WithGroup("delivery")
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
	logger.InfoContext(ctx, "attempted", slog.String("outcome", "delivered"), slog.Int("attempt", 1))
	_, afterTime, _ := strings.Cut(out.String(), " ")
	fmt.Print(afterTime)
	// Output:
	// level=INFO msg=attempted trace_id=01000000000000000000000000000000 span_id=0200000000000000 delivery.outcome=delivered delivery.attempt=1
}
