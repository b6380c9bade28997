package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

const scope = "github.com/handfast/handfast/services/signer"

// Signer is one instance of the service. Any number run side by side.
type Signer struct {
	config    Config
	logger    *slog.Logger
	tracer    trace.Tracer
	meters    meters
	topology  stream.Topology
	publisher *stream.Publisher
	events    jetstream.Stream
	backlog   jetstream.Stream
	consumers [2]jetstream.Consumer // of EVENTS and of due retries
	catalogue *stream.Catalogue
	endpoints endpoint.Registry
	keyring   *Keyring
	schemas   *Schemas
	slots     *stream.Slots
	tending   *tending
	draining  draining
	clock     stream.Clock
	kept      map[endpoint.Key]uint64 // by preserve: up to where a backlog has its payloads
	keptIn    time.Time               // when the stream of those backlogs was made
	missed    missed
	ready     atomic.Bool
	stopping  atomic.Bool
	crew      stream.Crew
}

type meters struct {
	events     metric.Int64Counter
	deliveries metric.Int64Counter
	signing    metric.Float64Histogram
	// results holds the ready-made label of every result.
	results map[result]metric.MeasurementOption
}

// result is what became of an event or a request, as a metric label.
type result string

const (
	signed  result = "signed"  // the event's requests are stored
	again   result = "again"   // the event goes back
	refused result = "refused" // the message was no valid event
	kept    result = "stored"  // the request is in DELIVERIES
	failed  result = "failed"  // the request is not
)

// New binds to the streams that `handfast topology apply` has made. The error says what is missing.
func New(ctx context.Context, config Config, deps Dependencies) (*Signer, error) {
	if err := deps.check(); err != nil {
		return nil, err
	}
	config = config.fill()
	js, err := jetstream.New(deps.NATS)
	if err != nil {
		return nil, fmt.Errorf("signer: open JetStream: %w", err)
	}
	s := &Signer{
		config: config, logger: deps.Logger, tracer: deps.TracerProvider.Tracer(scope),
		slots: stream.NewSlots(config.Concurrency), tending: newTending(), missed: missed{most: maxMissed},
		draining: draining{most: config.Concurrency / 4},
	}
	if s.topology, err = stream.LoadTopology(ctx, js); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if s.publisher, err = stream.NewPublisher(deps.NATS); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if s.events, err = js.Stream(ctx, stream.Events); err != nil {
		return nil, fmt.Errorf("signer: look up stream %s: %w", stream.Events, err)
	}
	if s.backlog, err = js.Stream(ctx, stream.Backlog); err != nil {
		return nil, fmt.Errorf("signer: look up stream %s: %w", stream.Backlog, err)
	}
	if err := s.clock.Look(ctx, s.backlog, s.logger); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	for i, at := range [2][2]string{{stream.Events, stream.SignerConsumer}, {stream.Retries, stream.DueConsumer}} {
		if s.consumers[i], err = js.Consumer(ctx, at[0], at[1]); err != nil {
			return nil, fmt.Errorf("signer: bind to consumer %s of stream %s: %w", at[1], at[0], err)
		}
	}
	if s.catalogue, err = s.topology.OpenCatalogue(ctx, js, deps.Logger); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	s.catalogue.Changed = s.tending.add
	if s.keyring, err = OpenKeyring(ctx, js, s.topology, config.Vault, deps.Logger); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if config.Custody != nil {
		s.keyring.UseCustody(config.Custody)
	}
	if s.schemas, err = OpenSchemas(ctx, js, deps.Logger); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	s.catalogue.Poll, s.keyring.bucket.Poll, s.schemas.bucket.Poll = config.FetchWait, config.FetchWait, config.FetchWait
	if err := s.instrument(deps.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	return s, nil
}

func (s *Signer) instrument(meter metric.Meter) error {
	s.meters.results = make(map[result]metric.MeasurementOption)
	for _, r := range []result{signed, again, refused, kept, failed} {
		s.meters.results[r] = metric.WithAttributeSet(attribute.NewSet(attribute.String("result", string(r))))
	}
	var errs [3]error
	s.meters.events, errs[0] = meter.Int64Counter("handfast.events", metric.WithDescription("Events taken from EVENTS, by result"))
	s.meters.deliveries, errs[1] = meter.Int64Counter("handfast.deliveries.signed", metric.WithDescription("Requests signed and published, by result"))
	s.meters.signing, errs[2] = meter.Float64Histogram("handfast.signing.duration", metric.WithUnit("s"), metric.WithDescription("Time to build and sign one request"))
	return errors.Join(errs[:]...)
}

// Ready reports whether the endpoints have been read and work is being done.
func (s *Signer) Ready() bool { return s.ready.Load() }

// Run works until ctx ends, then finishes what it holds within a bound and returns.
func (s *Signer) Run(ctx context.Context) error {
	var following sync.WaitGroup
	follow, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer following.Wait()
	defer stop()
	known := make(chan struct{})
	following.Go(func() { s.catalogue.Follow(follow, &s.endpoints, func() { close(known) }) })
	following.Go(func() { s.keyring.Follow(follow) })
	read := make(chan struct{})
	following.Go(func() { s.schemas.Follow(follow, func() { close(read) }) })
	following.Go(func() { s.tend(follow) })
	for _, come := range []chan struct{}{known, read} {
		select {
		case <-come:
		case <-ctx.Done():
			return nil
		}
	}
	s.ready.Store(true)
	s.logger.InfoContext(ctx, "signer is working", slog.Int("endpoints", s.endpoints.Len()))
	var loops sync.WaitGroup
	for i, handle := range [2]func(context.Context, jetstream.Msg){s.event, s.due} {
		loop := &stream.Loop{
			// Two pulls that wait have their slots reserved, and leave half of them.
			Consumer: s.consumers[i], Slots: s.slots, Batch: min(64, s.config.Concurrency/4), Wait: s.config.FetchWait, Logger: s.logger,
			Handle: func(msg jetstream.Msg) { s.accept(ctx, msg, handle) },
		}
		loops.Go(func() { loop.Run(ctx) })
	}
	<-ctx.Done()
	s.ready.Store(false)
	s.stopping.Store(true)
	loops.Wait()
	s.crew.Wait()
	return nil
}

// workTime bounds one event or retry; the broker hands it out again when it is over.
const workTime = stream.AckWait / 2

func (s *Signer) accept(ctx context.Context, msg jetstream.Msg, handle func(context.Context, jetstream.Msg)) {
	if s.stopping.Load() {
		s.slots.Release(1)
		s.giveBack(ctx, msg, 0)
		return
	}
	s.crew.Do(func() {
		defer s.slots.Release(1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workTime)
		defer cancel()
		handle(ctx, msg)
	})
}

// giveBack returns a message to the broker, for this or another signer.
func (s *Signer) giveBack(ctx context.Context, msg jetstream.Msg, after time.Duration) {
	if err := msg.NakWithDelay(after); err != nil {
		s.logger.WarnContext(ctx, "could not give a message back; it comes again by itself", slog.Any("error", err))
	}
}

// done acknowledges a source whose results are stored.
func (s *Signer) done(ctx context.Context, msg jetstream.Msg) {
	if err := msg.Ack(); err != nil {
		s.logger.WarnContext(ctx, "could not acknowledge; the work is repeated with the same ids", slog.Any("error", err))
	}
}

// Await returns when this signer knows an endpoint at a revision or a later one, so that whoever applied it can publish
// without a race.
func (s *Signer) Await(ctx context.Context, key endpoint.Key, revision uint64) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if known, ok := s.endpoints.Get(key); ok && known.Revision >= revision {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("endpoint %s is stored but not yet known to the signer: %w", key, ctx.Err())
		}
	}
}
