package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
)

const scope = "github.com/handfast/handfast/services/dispatcher"

// Dispatcher is one instance of the service. Any number run side by side and share the partitions.
type Dispatcher struct {
	config     Config
	logger     *slog.Logger
	tracer     trace.Tracer
	meters     meters
	js         jetstream.JetStream
	topology   stream.Topology
	publisher  *stream.Publisher
	retries    jetstream.Stream
	deliveries jetstream.Stream
	partitions []jetstream.Consumer
	catalogue  *stream.Catalogue
	endpoints  endpoint.Registry
	members    *stream.Membership
	pool       *mtls.Pool
	presenting presenting
	roster     roster
	rotations  *rotation.Runner
	renewer    *identity.Renewer
	alerts     *alert.Desk
	slots      *stream.Slots
	lanes      lanes
	ledger     *ledger
	clock      stream.Clock
	holding    holding
	settling   settling
	ready      atomic.Bool
	stopping   atomic.Bool
	crew       stream.Crew
	trusts     trusts
	strikes    strikes
	reviews    reviews
	paces      paces
	// quit is closed when nothing new may begin.
	quit       chan struct{}
	healing    chan struct{}
	lanesGauge metric.Registration
	// life outlives Run's context by the drain; attempts and settlements run under it.
	life context.Context //nolint:containedctx // one per Run, replaced before any use
}

type meters struct {
	attempts metric.Int64Counter
	duration metric.Float64Histogram
	latency  metric.Float64Histogram
	repeats  metric.Int64Counter
	letters  metric.Int64Counter
	// activations counts how often a receiver was asked for its consent.
	activations metric.Int64Counter
	// outcomes holds the ready-made label of every outcome.
	outcomes map[delivery.Outcome]metric.MeasurementOption
}

// New binds to the streams that `handfast topology apply` has made. The error says what is missing.
func New(ctx context.Context, config Config, deps Dependencies) (*Dispatcher, error) {
	if err := check(config, deps); err != nil {
		return nil, err
	}
	config = config.fill()
	config.Connections.TracerProvider, config.Connections.MeterProvider = deps.TracerProvider, deps.MeterProvider
	d := &Dispatcher{
		config: config, logger: deps.Logger, tracer: deps.TracerProvider.Tracer(scope),
		slots: stream.NewSlots(config.Slots), ledger: newLedger(ledgerSize), life: ctx,
		healing: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	d.lanes.most, d.lanes.bytes, d.holding.every = config.Slots, config.Bytes, stream.AckWait/3
	var err error
	if d.pool, err = mtls.NewPool(config.Connections); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	if d.js, err = jetstream.New(deps.NATS); err != nil {
		return nil, fmt.Errorf("dispatcher: open JetStream: %w", err)
	}
	if d.publisher, err = stream.NewPublisher(deps.NATS); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	if err := d.bind(ctx); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	if err := d.prepare(ctx, deps); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	if err := d.instrument(deps.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	return d, nil
}

func (d *Dispatcher) bind(ctx context.Context) (err error) {
	if d.topology, err = stream.LoadTopology(ctx, d.js); err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	if d.retries, err = d.js.Stream(ctx, stream.Retries); err != nil {
		return fmt.Errorf("look up stream %s: %w", stream.Retries, err)
	}
	if err := d.clock.Look(ctx, d.retries, d.logger); err != nil {
		return err //nolint:wrapcheck // says what already
	}
	if d.deliveries, err = d.js.Stream(ctx, stream.Deliveries); err != nil {
		return fmt.Errorf("look up stream %s: %w", stream.Deliveries, err)
	}
	d.partitions = make([]jetstream.Consumer, d.topology.Partitions)
	for p := range d.partitions {
		if d.partitions[p], err = d.js.Consumer(ctx, stream.Deliveries, stream.PartitionConsumer(p)); err != nil {
			return fmt.Errorf("bind to partition %d of stream %s: %w", p, stream.Deliveries, err)
		}
	}
	if d.catalogue, err = d.topology.OpenCatalogue(ctx, d.js, d.logger); err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	d.catalogue.Poll = d.config.FetchWait
	d.members, err = stream.Join(ctx, d.js, d.config.ID, d.config.LeaseTTL, d.logger)
	return err //nolint:wrapcheck // says what and where already
}

func (d *Dispatcher) instrument(meter metric.Meter) error {
	var errs [7]error
	d.meters.outcomes = outcomeLabels()
	d.meters.attempts, errs[0] = meter.Int64Counter("handfast.attempts", metric.WithDescription("Attempts that ended, by outcome"))
	d.meters.duration, errs[1] = meter.Float64Histogram("handfast.attempt.duration", metric.WithUnit("s"), metric.WithDescription("Time from sending to the answer"))
	d.meters.latency, errs[2] = meter.Float64Histogram("handfast.delivery.latency", metric.WithUnit("s"), metric.WithDescription("Time from storing the event to its delivery"))
	d.meters.repeats, errs[3] = meter.Int64Counter("handfast.repeats", metric.WithDescription("Messages that the broker handed out again and that were not sent again"))
	d.meters.letters, errs[6] = meter.Int64Counter("handfast.deadletters", metric.WithDescription("Deliveries that were given up after an attempt, by its outcome"))
	d.meters.activations, errs[5] = meter.Int64Counter("handfast.activations", metric.WithDescription("Receivers asked for their consent to deliveries, by kind and outcome"))
	gauge, err := meter.Int64ObservableGauge("handfast.lanes", metric.WithDescription("Endpoints with deliveries in this dispatcher"))
	if err != nil {
		return errors.Join(append(errs[:], err)...)
	}
	d.lanesGauge, errs[4] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(gauge, int64(d.lanes.count()))
		return nil
	}, gauge)
	return errors.Join(errs[:]...)
}

// Ready reports whether the endpoints have been read and work is being done.
func (d *Dispatcher) Ready() bool { return d.ready.Load() }

// CA is the roots of our own authorities that receivers have to trust, in PEM; empty when there are none.
func (d *Dispatcher) CA() []byte { return identity.Bundle(d.presenting.book.Authorities()) }

// Run works until ctx ends, then lets answers come in within DrainTimeout, gives the rest back and returns.
func (d *Dispatcher) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	d.life = life
	var background, loops sync.WaitGroup
	defer background.Wait()
	defer end()
	known, worn := make(chan struct{}), make(chan struct{})
	background.Go(func() { d.catalogue.Follow(life, &d.endpoints, func() { close(known) }) })
	background.Go(func() { d.presenting.follow(life, func() { close(worn) }) })
	background.Go(func() { d.holding.run(life) })
	background.Go(func() { d.trim(life) })
	for _, read := range []chan struct{}{known, worn} {
		select {
		case <-read:
		case <-ctx.Done():
			return nil
		}
	}
	d.presenting.board.Loaded()
	loops.Go(func() { d.members.Run(ctx) })
	d.tend(ctx, &loops)
	loops.Go(func() { d.sweep(ctx) })
	loops.Go(func() { d.heal(ctx) })
	loops.Go(func() { d.takeTurns(ctx) })
	for p := range d.partitions {
		loops.Go(func() { d.pull(ctx, p) })
	}
	d.ready.Store(true)
	d.logger.InfoContext(ctx, "dispatcher is working", slog.Int("endpoints", d.endpoints.Len()), slog.Int("partitions", len(d.partitions)))
	<-ctx.Done()
	d.ready.Store(false)
	d.stopping.Store(true)
	close(d.quit)
	// Attempts under way may finish; what has not begun goes back at once.
	cut := time.AfterFunc(d.config.DrainTimeout, end)
	defer cut.Stop()
	loops.Wait()
	d.crew.Wait()
	d.pool.Close()
	if err := d.lanesGauge.Unregister(); err != nil {
		d.logger.WarnContext(ctx, "could not stop counting lanes", slog.Any("error", err))
	}
	return nil
}

// pull serves one partition. A pull that waits has its slots reserved, so all of them together may reserve half at most.
func (d *Dispatcher) pull(ctx context.Context, p int) {
	loop := &stream.Loop{
		Consumer: d.partitions[p], Slots: d.slots, Batch: max(1, min(64, d.config.Slots/(2*len(d.partitions)))), Wait: d.config.FetchWait, Logger: d.logger,
		Priority: func() int { return d.members.Rank(p) }, Wake: d.members.Changed, Handle: d.accept,
	}
	loop.Run(ctx)
}

// trim keeps slow endpoints from holding what others need.
func (d *Dispatcher) trim(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, h := range d.lanes.trim(time.Now()) {
			d.overflow(h)
		}
	}
}
