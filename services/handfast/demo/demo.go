package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/services/handfast/local"
)

// Options choose how much is shown, and where. All but Events and JSON are required.
type Options struct {
	// Events is how many events the first act publishes.
	Events int
	// JSON prints one object per delivery on Out and the story on Err.
	JSON bool
	Out  io.Writer
	Err  io.Writer
	// Live tells that the story is read on a terminal, where a line may be written over.
	Live    bool
	Version string
	Logger  *slog.Logger
}

const tenant = "acme"

// story is the state that the acts share.
type story struct {
	options    Options
	says       io.Writer
	deployment *local.Deployment
	recorder   *telemetry.Recorder
	producer   *telemetry.Telemetry
	receiver   *telemetry.Telemetry
	receipts   chan *nats.Msg
	waiting    map[endpoint.Key][]receipt.Receipt // received, not asked for yet
	hooks      map[endpoint.Key]*webhook
	book       book
	first      []record
	took       time.Duration
	published  int
}

// Run tells the story. The error says which act did not end as it must.
func Run(ctx context.Context, o Options) (err error) {
	if o.Events < 1 {
		return fmt.Errorf("--events %d: at least one event is needed to show anything", o.Events)
	}
	dir, err := os.MkdirTemp("", "handfast-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	s := &story{
		options: o, says: o.Out, recorder: telemetry.NewRecorder(0),
		waiting: make(map[endpoint.Key][]receipt.Receipt), hooks: make(map[endpoint.Key]*webhook),
	}
	if o.JSON {
		s.says = o.Err
	}
	s.sayf("Handfast %s: webhooks that shake hands first\n", o.Version)
	if err := s.start(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(context.WithoutCancel(ctx))) }()
	for i, act := range []func(context.Context) error{s.deliver, s.retry, s.refuse, s.trace} {
		if err := act(ctx); err != nil {
			return fmt.Errorf("act %d: %w", i+1, err)
		}
	}
	return s.end()
}

func (s *story) sayf(format string, arguments ...any) {
	_, _ = fmt.Fprintf(s.says, format, arguments...)
}

// checkf says a fact that must hold, and is the error when it does not.
func (s *story) checkf(holds bool, format string, arguments ...any) error {
	fact := fmt.Sprintf(format, arguments...)
	if !holds {
		s.sayf("  ✗ %s\n", fact)
		return errors.New("this does not hold: " + fact)
	}
	s.sayf("  ✓ %s\n", fact)
	return nil
}

func (s *story) start(ctx context.Context, dir string) error {
	began := time.Now()
	d, err := local.Start(ctx, local.Options{
		Dir: dir, Allow: []string{"127.0.0.0/8"}, Version: s.options.Version, Logger: s.options.Logger,
		Processors: telemetryProcessors(s.recorder),
	})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	s.deployment = d
	if s.producer, err = d.Telemetry(ctx, "shop"); err == nil {
		s.receiver, err = d.Telemetry(ctx, "receiver")
	}
	if err != nil {
		return errors.Join(err, d.Stop(ctx))
	}
	s.receipts = make(chan *nats.Msg, 4*s.options.Events+1024)
	if _, err := d.NATS.ChanSubscribe("receipts.>", s.receipts); err != nil {
		return errors.Join(fmt.Errorf("follow the receipts: %w", err), d.Stop(ctx))
	}
	s.sayf("  NATS with JetStream on disk, a development authority, one signer and one dispatcher: up in %.1f s\n", time.Since(began).Seconds())
	return nil
}

func (s *story) stop(ctx context.Context) error {
	var problems []error
	for _, hook := range s.hooks {
		problems = append(problems, hook.close())
	}
	return errors.Join(append(problems, s.deployment.Stop(ctx))...)
}

// subscribe applies an endpoint for a receiver and gives the receiver its keys.
func (s *story) subscribe(ctx context.Context, hook *webhook, name, types, schedule string, statuses ...int) error {
	roots := strings.ReplaceAll(strings.TrimSpace(string(s.deployment.CA.CertificatePEM())), "\n", "\n      ")
	document := fmt.Sprintf(`
tenant: %s
name: %s
url: %s
filter:
  types: [%q]
tls:
  trust:
    roots: |
      %s
retry:
  schedule: %s
`, tenant, name, hook.url("/"+name), types, roots, schedule)
	keys, err := s.deployment.Apply(ctx, []byte(document))
	if err != nil {
		return fmt.Errorf("apply endpoint %s: %w", name, err)
	}
	s.hooks[endpoint.Key{Tenant: tenant, Name: name}] = hook
	return hook.serve(keys, s.receiver.TracerProvider(), statuses...)
}

// publish is a producer with plain nats.go: a subject, headers, and bytes. The span is what any instrumented producer
// would add.
func (s *story) publish(ctx context.Context, eventType, data string) (trace.TraceID, jetstream.PubAckFuture, error) {
	s.published++
	ctx, span := s.producer.TracerProvider().Tracer("shop").Start(ctx, "publish "+eventType, trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	msg := nats.NewMsg("events." + tenant + "." + eventType)
	msg.Header.Set("ce-specversion", "1.0")
	msg.Header.Set("ce-type", eventType)
	msg.Header.Set("ce-source", "/shop")
	msg.Header.Set("ce-id", strconv.Itoa(s.published))
	msg.Header.Set("ce-datacontenttype", "application/json")
	msg.Data = []byte(data)
	context := propagation.MapCarrier{}
	s.producer.Propagator().Inject(ctx, context)
	for name, value := range context {
		msg.Header[name] = []string{value}
	}
	future, err := s.deployment.JS.PublishMsgAsync(msg, jetstream.WithStallWait(10*time.Second))
	if err != nil {
		return trace.TraceID{}, nil, fmt.Errorf("publish: %w", err)
	}
	return span.SpanContext().TraceID(), future, nil
}

// publishOne waits until the event is stored.
func (s *story) publishOne(ctx context.Context, eventType, data string) (trace.TraceID, error) {
	id, future, err := s.publish(ctx, eventType, data)
	if err != nil {
		return id, err
	}
	select {
	case <-future.Ok():
		return id, nil
	case err := <-future.Err():
		return id, fmt.Errorf("publish: %w", err)
	case <-ctx.Done():
		return id, fmt.Errorf("publish: %w", ctx.Err())
	}
}

// next gives the next receipt of an endpoint.
func (s *story) next(ctx context.Context, name string, within time.Duration) (receipt.Receipt, record, error) {
	key := endpoint.Key{Tenant: tenant, Name: name}
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for len(s.waiting[key]) == 0 {
		select {
		case msg := <-s.receipts:
			r, err := receipt.Parse(msg.Data)
			if err != nil {
				return r, record{}, err //nolint:wrapcheck // says what already
			}
			at := endpoint.Key{Tenant: r.Tenant, Name: r.Endpoint}
			s.waiting[at] = append(s.waiting[at], r)
		case <-timeout.C:
			return receipt.Receipt{}, record{}, fmt.Errorf("no receipt of endpoint %s within %s", key, within)
		case <-ctx.Done():
			return receipt.Receipt{}, record{}, fmt.Errorf("wait for a receipt: %w", ctx.Err())
		}
	}
	r := s.waiting[key][0]
	s.waiting[key] = s.waiting[key][1:]
	return r, s.book.note(r, s.hooks[key].verified(string(r.Delivery))), nil
}

// held counts the deliveries that wait, until there are as many as expected: one that is on its way from a stream to the
// next is in neither place that is looked at while a dispatcher has it.
func (s *story) held(ctx context.Context, expected int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		held, err := s.waitingNow(ctx)
		if held >= expected || err != nil {
			return held, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return held, nil
		}
	}
}

// waitingNow counts the endpoints of the tenant for which a delivery stands on RETRIES or in BACKLOG; in this story each
// has one delivery. RETRIES comes first, because a delivery is stored in BACKLOG before it leaves RETRIES.
func (s *story) waitingNow(ctx context.Context) (int, error) {
	endpoints := make(map[string]bool)
	for _, place := range []struct{ stream, subjects string }{
		{stream.Retries, "retries.*.*." + tenant + ".>"}, {stream.Backlog, "backlog.*." + tenant + ".*"},
	} {
		at, err := s.deployment.JS.Stream(ctx, place.stream)
		if err != nil {
			return 0, fmt.Errorf("look at %s: %w", place.stream, err)
		}
		info, err := at.Info(ctx, jetstream.WithSubjectFilter(place.subjects))
		if err != nil {
			return 0, fmt.Errorf("look at %s: %w", place.stream, err)
		}
		for subject := range info.State.Subjects {
			rest := strings.TrimPrefix(strings.TrimPrefix(subject, "retries."), "backlog.")
			_, name, _ := strings.Cut(rest, "."+tenant+".")
			name, _, _ = strings.Cut(name, ".")
			endpoints[name] = true
		}
	}
	return len(endpoints), nil
}

func (s *story) end() error {
	sum := s.book.summary(s.first, s.took)
	s.sayf("\nAll four acts ended as they must. %.0f deliveries/s, latency p50 %.1f ms and p99 %.1f ms, %d handshakes, %.1f %% of attempts on a connection that was open already.\n",
		sum.DeliveriesPerSecond, sum.LatencyMS.P50, sum.LatencyMS.P99, sum.Handshakes, 100*sum.ReusedShare)
	if !s.options.JSON {
		return nil
	}
	return s.book.print(s.options.Out, sum)
}
