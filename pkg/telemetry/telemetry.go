package telemetry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// DefaultShutdownTimeout bounds [Telemetry.Shutdown] when
// [Config.ShutdownTimeout] is zero. It leaves most of the 30 seconds that
// Kubernetes grants a stopping pod to the deliveries in flight.
const DefaultShutdownTimeout = 5 * time.Second

// Config says whose telemetry it is. Where the telemetry goes is configured by
// the standard OpenTelemetry environment variables; the package comment lists
// them.
type Config struct {
	// Service is the resource attribute service.name, for example
	// "handfast-signer". Required. OTEL_SERVICE_NAME wins over it.
	Service string
	// Version is the resource attribute service.version. Empty leaves it out.
	Version string
	// Instance is the resource attribute service.instance.id, which tells the
	// replicas of a service apart. Empty means a random one for this process.
	Instance string
	// Processors see every span beside the OTLP export, in this order. A
	// [Recorder] is one. They are shut down together with the Telemetry.
	Processors []sdktrace.SpanProcessor
	// ShutdownTimeout bounds Shutdown, whatever its context allows. Zero means
	// DefaultShutdownTimeout.
	ShutdownTimeout time.Duration
}

// Telemetry holds the trace and metric providers of one service. Use [Start] to
// make one. All methods may be called by several goroutines.
type Telemetry struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
	metrics http.Handler

	timeout  time.Duration
	stops    []stop // run last in, first out
	stopOnce sync.Once
	stopErr  error
}

// stop is one thing to take down, named for the error that it may give.
type stop struct {
	name string
	run  func(context.Context) error
}

// Start builds the providers of one service. The context bounds the building
// only, not the life of what was built.
//
// An unreachable collector is not an error: spans are tried, dropped when the
// queue is full, and the failure is logged. The error lists every invalid
// setting of the Config and of the environment, and nothing is left running.
func Start(ctx context.Context, cfg Config, logger *slog.Logger) (*Telemetry, error) {
	env, envErr := readEnvironment(os.Getenv)
	res, resErr := newResource(ctx, cfg)
	if err := errors.Join(cfg.validate(), loggerPresent(logger), envErr, resErr); err != nil {
		return nil, fmt.Errorf("telemetry cannot start, correct these settings:\n%w", err)
	}
	t := &Telemetry{timeout: cfg.ShutdownTimeout}
	if t.timeout == 0 {
		t.timeout = DefaultShutdownTimeout
	}
	registry := newRegistry()
	t.metrics = newMetricsHandler(registry, logger)
	if env.disabled {
		t.tracers, t.meters = tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider()
		return t, nil
	}
	if err := t.startMetrics(registry, res); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	if err := t.startTraces(ctx, env, cfg.Processors, res, logger); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// TracerProvider makes the service's tracers.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracers }

// MeterProvider makes the service's meters. What they measure shows in Metrics.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// Metrics serves the service's metrics, and those of its Go runtime and
// process, in the Prometheus text format or in OpenMetrics, whichever the
// scraper asks for. It does no authentication: serve it on an internal address.
func (t *Telemetry) Metrics() http.Handler { return t.metrics }

// Propagator carries the trace from one service to the next as W3C Trace
// Context (traceparent and tracestate) and nothing else. W3C Baggage is left
// out on purpose: whatever a producer put there would travel on in the request
// to the receiver, who is somebody else.
func (t *Telemetry) Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

// Shutdown sends the spans that still wait and stops everything. It returns
// after the configured timeout at the latest, whatever the context allows. Give it
// a context that is not cancelled yet (context.WithoutCancel after a signal), or
// the waiting spans are lost. A second call changes nothing and returns the
// first one's result.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.stopOnce.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		defer cancel()
		var errs []error
		for _, s := range slices.Backward(t.stops) {
			if err := s.run(ctx); err != nil {
				errs = append(errs, fmt.Errorf("telemetry: stop %s: %w", s.name, err))
			}
		}
		t.stopErr = errors.Join(errs...)
	})
	return t.stopErr
}

func (t *Telemetry) startMetrics(registry registry, res *resource.Resource) error {
	reader, err := newReader(registry)
	if err != nil {
		return fmt.Errorf("telemetry: build the Prometheus exporter: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(res), sdkmetric.WithView(durations()))
	t.meters = meters
	t.stops = append(t.stops, stop{name: "metrics", run: meters.Shutdown})
	return nil
}

func (t *Telemetry) startTraces(
	ctx context.Context, env environment, processors []sdktrace.SpanProcessor, res *resource.Resource, logger *slog.Logger,
) error {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	for _, p := range processors {
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	if env.protocol != protocolNone {
		client, err := newClient(ctx, env.protocol)
		if err != nil {
			return fmt.Errorf("telemetry: build the OTLP exporter for %s: %w", env.collector, err)
		}
		e := newExporter(client, env.collector, logger)
		// Stopped after the provider: ends an export that outlived the timeout.
		t.stops = append(t.stops, stop{name: "export", run: e.abandon})
		options = append(options, sdktrace.WithBatcher(e))
	}
	tracers := sdktrace.NewTracerProvider(options...)
	t.tracers = tracers
	t.stops = append(t.stops, stop{name: "traces", run: tracers.Shutdown})
	return nil
}

func (c Config) validate() error {
	var errs []error
	if strings.TrimSpace(c.Service) == "" {
		errs = append(errs, errors.New("telemetry: Config.Service is empty; give the service's name, for example handfast-signer"))
	}
	if c.ShutdownTimeout < 0 {
		errs = append(errs, fmt.Errorf("telemetry: Config.ShutdownTimeout is %s; give zero for the default or a positive duration", c.ShutdownTimeout))
	}
	for i, p := range c.Processors {
		if p == nil {
			errs = append(errs, fmt.Errorf("telemetry: Config.Processors[%d] is nil; leave it out", i))
		}
	}
	return errors.Join(errs...)
}

func loggerPresent(logger *slog.Logger) error {
	if logger == nil {
		return errors.New("telemetry: the logger is nil; give slog.New(slog.DiscardHandler) to log nothing")
	}
	return nil
}

// newResource joins the configured attributes with those of the environment,
// which win. The keys are stable ones of the semantic conventions' service
// group; they are written without a schema URL so that they never conflict with
// the SDK's own.
func newResource(ctx context.Context, cfg Config) (*resource.Resource, error) {
	instance := cfg.Instance
	if instance == "" {
		instance = rand.Text()
	}
	attributes := []attribute.KeyValue{
		attribute.String("service.name", cfg.Service),
		attribute.String("service.instance.id", instance),
	}
	if cfg.Version != "" {
		attributes = append(attributes, attribute.String("service.version", cfg.Version))
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attributes...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: write it as key=value,key=value: %w", err)
	}
	return res, nil
}
