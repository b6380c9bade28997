package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/services/dispatcher"
	"github.com/handfast/handfast/services/signer"
)

// pipeline is a broker and one of each service.
type pipeline struct {
	fleet  *fleet
	load   load
	window int
	logger *slog.Logger
	js     jetstream.JetStream
	tracer trace.Tracer
	next   int // the number of the next event
	// turnover rotates the dispatcher's identity, which has so many successors and so many endpoints probed in a second.
	turnover   *turnover
	successors int
	probes     float64
	// groups are tenants with all the endpoints each, signed in different ways.
	groups []group
	vault  signature.Vault
	stops  []func(context.Context) error
}

// group is a tenant whose endpoints are signed with the same schemes.
type group struct {
	tenant  string
	schemes []string
}

// usual is what everything but the comparison of schemes is measured with.
func usual() []group { return []group{{tenant: tenant, schemes: []string{signature.V1}}} }

// sampled is the share of traces that are recorded.
const sampled = 0.01

// startTime bounds the start of the services.
const startTime = 10 * time.Second

func startPipeline(ctx context.Context, dir string, f *fleet, s settings, groups []group, logger *slog.Logger) (*pipeline, error) {
	p := &pipeline{fleet: f, window: s.window, logger: logger, successors: 2*s.rotations + more, probes: s.probes, groups: groups}
	if err := p.start(ctx, dir); err != nil {
		return nil, errors.Join(err, p.stop(context.WithoutCancel(ctx)))
	}
	return p, nil
}

func (p *pipeline) start(ctx context.Context, dir string) (err error) {
	if p.load, err = newLoad(); err != nil {
		return err
	}
	broker, err := embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats")})
	if err != nil {
		return err
	}
	p.stops = append(p.stops, func(context.Context) error { broker.Stop(); return nil })
	nc, err := p.connect("producer", broker)
	if err != nil {
		return err
	}
	if p.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if err := (stream.Topology{}).Apply(ctx, p.js); err != nil {
		return err
	}
	endpoints, err := p.apply(ctx)
	if err != nil {
		return err
	}
	tracers := tracerProvider()
	p.stops = append(p.stops, tracers.Shutdown)
	p.tracer = tracers.Tracer("bench")
	if err := p.startServices(ctx, broker, tracers); err != nil {
		return err
	}
	return p.startTurnover(ctx, endpoints)
}

// startTurnover watches the rotations from outside of the dispatcher.
func (p *pipeline) startTurnover(ctx context.Context, endpoints *roster) error {
	bucket, err := stream.OpenBucket(ctx, p.js, stream.IdentityBucket, p.logger)
	if err != nil {
		return err
	}
	p.turnover = &turnover{bucket: bucket, board: rotation.NewBoard(endpoints)}
	known := make(chan struct{})
	p.run(func(ctx context.Context) error {
		p.turnover.follow(ctx, func() { close(known) })
		return nil
	})
	select {
	case <-known:
		p.turnover.board.Loaded()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("read bucket %s: %w", stream.IdentityBucket, ctx.Err())
	}
}

// tracerProvider samples as production would, and throws away what an exporter would send.
func tracerProvider() *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(sampled))),
		sdktrace.WithBatcher(discard{}),
	)
}

type discard struct{}

// ExportSpans drops them.
func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }

// Shutdown does nothing.
func (discard) Shutdown(context.Context) error { return nil }

func (p *pipeline) connect(name string, broker *embedded.Server) (*nats.Conn, error) {
	nc, err := stream.Connect(name, "", p.logger, broker.Option())
	if err != nil {
		return nil, err
	}
	p.stops = append(p.stops, func(context.Context) error { nc.Close(); return nil })
	return nc, nil
}

// apply stores the endpoints; nothing but the scheme differs from the defaults.
func (p *pipeline) apply(ctx context.Context) (*roster, error) {
	topology, err := stream.LoadTopology(ctx, p.js)
	if err != nil {
		return nil, err
	}
	catalogue, err := topology.OpenCatalogue(ctx, p.js, p.logger)
	if err != nil {
		return nil, err
	}
	stored := newRoster(topology.Partitions)
	for _, g := range p.groups {
		for n := range endpoints {
			e, err := p.endpoint(g, n)
			if err != nil {
				return nil, err
			}
			revision, err := catalogue.Apply(ctx, e)
			if err != nil {
				return nil, err
			}
			stored.add(e, revision)
		}
	}
	return stored, nil
}

// hook is the name of endpoint number n, and the last part of its path.
func hook(n int) string { return "hook-" + strconv.Itoa(n) }

func (p *pipeline) endpoint(g group, n int) (*endpoint.Endpoint, error) {
	document, err := json.Marshal(map[string]any{
		"tenant": g.tenant, "name": hook(n), "url": "https://" + p.fleet.hosts[n%receivers] + "/hooks/" + strconv.Itoa(n),
		"filter": map[string]any{"types": []string{eventType(n)}}, "signature": map[string]any{"schemes": g.schemes},
		"tls": map[string]any{"trust": map[string]any{"roots": string(p.fleet.authority.CertificatePEM())}},
	})
	if err != nil {
		return nil, fmt.Errorf("write endpoint %d: %w", n, err)
	}
	return endpoint.Parse(document)
}

func (p *pipeline) startServices(ctx context.Context, broker *embedded.Server, tracers trace.TracerProvider) error {
	master, err := signature.GenerateMasterKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a master key: %w", err)
	}
	addresses, err := mtls.ParseAddressPolicy([]string{"127.0.0.0/8"})
	if err != nil {
		return fmt.Errorf("allow loopback: %w", err)
	}
	nc, meters, err := p.surround(ctx, "signer", broker)
	if err != nil {
		return err
	}
	p.vault = signature.Vault{Current: master}
	s, err := signer.New(ctx, signer.Config{Vault: p.vault}, signer.Dependencies{
		NATS: nc, Logger: p.logger, TracerProvider: tracers, MeterProvider: meters.MeterProvider(),
	})
	if err != nil {
		return err
	}
	if nc, meters, err = p.surround(ctx, "dispatcher", broker); err != nil {
		return err
	}
	identities, err := p.fleet.identities(p.successors)
	if err != nil {
		return err
	}
	d, err := dispatcher.New(ctx, dispatcher.Config{ID: "bench", Connections: mtls.Options{Addresses: addresses}, ProbeRate: p.probes}, dispatcher.Dependencies{
		NATS: nc, Identities: identities, Logger: p.logger,
		TracerProvider: tracers, MeterProvider: meters.MeterProvider(),
	})
	if err != nil {
		return err
	}
	p.run(s.Run)
	p.run(d.Run)
	return wait(ctx, startTime, "the services are not ready", func() (bool, error) { return s.Ready() && d.Ready(), nil })
}

// surround gives a service its connection and its metrics, with the Prometheus exporter behind them.
func (p *pipeline) surround(ctx context.Context, name string, broker *embedded.Server) (*nats.Conn, *telemetry.Telemetry, error) {
	nc, err := p.connect(name, broker)
	if err != nil {
		return nil, nil, err
	}
	t, err := telemetry.Start(ctx, telemetry.Config{Service: "handfast-" + name}, p.logger)
	if err != nil {
		return nil, nil, err
	}
	p.stops = append(p.stops, t.Shutdown)
	return nc, t, nil
}

// run starts what works until its context ends, and lets stop end it.
func (p *pipeline) run(work func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- work(ctx) }()
	p.stops = append(p.stops, func(context.Context) error { cancel(); return <-ended })
}

// stop ends everything, last in, first out.
func (p *pipeline) stop(ctx context.Context) error {
	var problems []error
	for _, stop := range slices.Backward(p.stops) {
		problems = append(problems, stop(ctx))
	}
	return errors.Join(problems...)
}

// wait asks until the answer is yes.
func wait(ctx context.Context, most time.Duration, otherwise string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := holds()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", otherwise, ctx.Err())
		}
	}
}
