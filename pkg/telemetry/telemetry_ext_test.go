package telemetry_test

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/handfast/handfast/pkg/telemetry"
)

// TestMain clears what the machine's own environment says about telemetry.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// fakeCollector is an OTLP collector for gRPC and HTTP that remembers span and
// resource values.
type fakeCollector struct {
	collector.UnimplementedTraceServiceServer

	mu       sync.Mutex
	names    []string
	resource map[string]string
}

// Export implements the gRPC service.
func (c *fakeCollector) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range request.GetResourceSpans() {
		c.resource = map[string]string{}
		for _, a := range rs.GetResource().GetAttributes() {
			c.resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.names = append(c.names, s.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// ServeHTTP implements OTLP/HTTP with protobuf and JSON bodies.
func (c *fakeCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	raw, _ := io.ReadAll(body)
	var request collector.ExportTraceServiceRequest
	unmarshal := proto.Unmarshal
	if r.Header.Get("Content-Type") == "application/json" {
		unmarshal = protojson.Unmarshal
	}
	if err := unmarshal(raw, &request); err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not an export", http.StatusBadRequest)
		return
	}
	_, _ = c.Export(r.Context(), &request)
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
}

func (c *fakeCollector) seen() ([]string, map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names, c.resource
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start starts a Telemetry that ends with the test.
func start(t *testing.T, cfg telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), cfg, quiet())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return tel
}

func endSpan(ctx context.Context, tel *telemetry.Telemetry, name string) trace.SpanContext {
	_, s := tel.TracerProvider().Tracer("test").Start(ctx, name)
	s.End()
	return s.SpanContext()
}

func TestExportHTTP(t *testing.T) {
	for _, protocol := range []string{"", "http/protobuf", "http/json"} {
		t.Run(protocol, func(t *testing.T) {
			var c fakeCollector
			server := httptest.NewServer(&c)
			t.Cleanup(server.Close)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
			tel := start(t, telemetry.Config{Service: "signer", Version: "1.2.3", Instance: "a"})
			endSpan(t.Context(), tel, "sign v1")
			require.NoError(t, tel.Shutdown(t.Context()), "shutdown sends what waits")
			names, resource := c.seen()
			assert.Equal(t, []string{"sign v1"}, names)
			assert.Subset(t, resource, map[string]string{
				"service.name": "signer", "service.version": "1.2.3", "service.instance.id": "a", "deployment.environment.name": "test",
			})
		})
	}
}

func TestExportGRPC(t *testing.T) {
	var c fakeCollector
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, &c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
	t.Setenv("OTEL_SERVICE_NAME", "renamed")
	tel := start(t, telemetry.Config{Service: "dispatcher"})
	endSpan(t.Context(), tel, "POST")
	require.NoError(t, tel.Shutdown(t.Context()))
	names, resource := c.seen()
	assert.Equal(t, []string{"POST"}, names)
	assert.Equal(t, "renamed", resource["service.name"], "OTEL_SERVICE_NAME wins")
	assert.NotEmpty(t, resource["service.instance.id"], "an instance is made up when none is given")
}

// A collector that accepts connections and never answers is the worst kind.
func TestShutdownIsBounded(t *testing.T) {
	released := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the client went away
		<-r.Context().Done()
		close(released)
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	tel := start(t, telemetry.Config{Service: "signer", ShutdownTimeout: 50 * time.Millisecond})
	endSpan(t.Context(), tel, "lost")
	err := tel.Shutdown(context.Background())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "stop traces")
	select {
	case <-released: // the export itself was cut off as well, not left behind
	case <-time.After(5 * time.Second): // the OTLP client would give up by itself after ten
		t.Error("the export still runs after Shutdown")
	}
	assert.Equal(t, err, tel.Shutdown(context.Background()), "a second call gives the first result")
}

// Nothing listens there. Starting and ending spans must not wait for it.
func TestUnreachableCollectorDoesNotBlock(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	tel := start(t, telemetry.Config{Service: "signer", ShutdownTimeout: time.Millisecond})
	begin := time.Now()
	for range 1000 {
		endSpan(t.Context(), tel, "dropped")
	}
	assert.Less(t, time.Since(begin), 5*time.Second)
}

func TestMetrics(t *testing.T) {
	tel, other := start(t, telemetry.Config{Service: "signer"}), start(t, telemetry.Config{Service: "dispatcher"})
	counter, err := tel.MeterProvider().Meter("test").Int64Counter("handfast.deliveries")
	require.NoError(t, err)
	counter.Add(t.Context(), 3)

	body := scrape(tel)
	assert.Regexp(t, `(?m)^handfast_deliveries_total\{.*\} 3$`, body)
	assert.Regexp(t, `(?m)^target_info\{.*service_name="signer".*\} 1$`, body)
	assert.Contains(t, body, "go_goroutines")
	assert.NotContains(t, scrape(other), "handfast_deliveries", "every Telemetry has its own registry")
}

// TestDurationsCanBeToldApart wants boundaries where signatures, handshakes and deliveries are.
func TestDurationsCanBeToldApart(t *testing.T) {
	tel := start(t, telemetry.Config{Service: "signer"})
	took, err := tel.MeterProvider().Meter("test").Float64Histogram("handfast.taking", metric.WithUnit("s"))
	require.NoError(t, err)
	for _, seconds := range []float64{0.00003, 0.0015, 0.3, 7200} {
		took.Record(t.Context(), seconds)
	}
	body := scrape(tel)
	for bound, below := range map[string]string{"5e-05": "1", "0.001": "1", "0.002": "2", "0.5": "3", "3600": "3", "36000": "4"} {
		assert.Regexp(t, `(?m)^handfast_taking_seconds_bucket\{.*le="`+bound+`".*\} `+below+`$`, body)
	}
}

func scrape(tel *telemetry.Telemetry) string {
	w := httptest.NewRecorder()
	tel.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

func TestDisabled(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "true")
	var r telemetry.Recorder
	tel := start(t, telemetry.Config{Service: "signer", Processors: []sdktrace.SpanProcessor{&r}})
	assert.False(t, endSpan(t.Context(), tel, "s").IsValid())
	assert.Empty(t, r.Spans())
	counter, err := tel.MeterProvider().Meter("test").Int64Counter("handfast.deliveries")
	require.NoError(t, err)
	counter.Add(t.Context(), 1)
	body := scrape(tel)
	assert.Contains(t, body, "go_goroutines", "the handler still answers")
	assert.NotContains(t, body, "handfast_deliveries")
}

func TestSamplerFromEnvironment(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	var r telemetry.Recorder
	tel := start(t, telemetry.Config{Service: "signer", Processors: []sdktrace.SpanProcessor{&r}})
	assert.False(t, endSpan(t.Context(), tel, "s").IsSampled())
	assert.Empty(t, r.Spans())
}

// Two services of one process share a Recorder, and neither becomes the global provider.
func TestOneRecorderForSeveralServices(t *testing.T) {
	before := otel.GetTracerProvider()
	var r telemetry.Recorder
	for _, service := range []string{"signer", "dispatcher"} {
		tel := start(t, telemetry.Config{Service: service, Processors: []sdktrace.SpanProcessor{&r}})
		endSpan(t.Context(), tel, "work")
		require.NoError(t, tel.Shutdown(t.Context()))
	}
	spans := r.Spans()
	require.Len(t, spans, 2)
	assert.Equal(t, "signer", spans[0].Service)
	assert.Equal(t, "dispatcher", spans[1].Service)
	assert.Same(t, before, otel.GetTracerProvider())
}

func TestPropagatorCarriesTraceContextOnly(t *testing.T) {
	tel := start(t, telemetry.Config{Service: "signer"})
	assert.ElementsMatch(t, []string{"traceparent", "tracestate"}, tel.Propagator().Fields())
	ctx := propagation.Baggage{}.Extract(t.Context(), propagation.MapCarrier{"baggage": "customer=42"})
	ctx, s := tel.TracerProvider().Tracer("test").Start(ctx, "s")
	defer s.End()
	carrier := propagation.MapCarrier{}
	tel.Propagator().Inject(ctx, carrier)
	assert.Contains(t, carrier["traceparent"], s.SpanContext().TraceID().String())
	assert.NotContains(t, carrier, "baggage")
}

func TestStartReportsEverything(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")
	t.Setenv("OTEL_TRACES_SAMPLER", "sometimes")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "novalue")
	_, err := telemetry.Start(t.Context(), telemetry.Config{
		Service: " ", Processors: []sdktrace.SpanProcessor{nil}, ShutdownTimeout: -1,
	}, nil)
	require.Error(t, err)
	for _, want := range []string{
		"Config.Service", "Config.Processors[0]", "Config.ShutdownTimeout", "logger", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_RESOURCE_ATTRIBUTES",
	} {
		assert.Contains(t, err.Error(), want)
	}
	assert.Len(t, strings.Split(err.Error(), "\n"), 8, "one line each:\n%v", err)
}
