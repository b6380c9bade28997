package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/telemetry"
)

// shown is how many deliveries the first act prints in full.
const shown = 8

// deliver is the first act: events go out, and arrive proved.
func (s *story) deliver(ctx context.Context) error {
	s.sayf("\nAct 1. %d events, published with plain nats.go, delivered over mutual TLS\n", s.options.Events)
	hook, err := open(s.deployment.CA, s.deployment.CA, nil)
	if err != nil {
		return err
	}
	if err := s.subscribe(ctx, hook, "orders", "com.acme.order.*", "standard", http.StatusOK); err != nil {
		return err
	}
	began := time.Now()
	futures := make(chan jetstream.PubAckFuture, s.options.Events)
	stored := make(chan error, 1)
	go func() { stored <- wait(ctx, futures) }()
	go s.publishAll(ctx, futures)
	if err := s.follow(ctx, began); err != nil {
		return err
	}
	s.took = time.Since(began)
	if err := <-stored; err != nil {
		return err
	}
	delivered, verified := 0, 0
	for _, rec := range s.first {
		if rec.Outcome == delivery.Delivered {
			delivered++
		}
		if rec.Verified {
			verified++
		}
	}
	return errors.Join(
		s.checkf(delivered == s.options.Events, "%d of %d events were delivered", delivered, s.options.Events),
		s.checkf(verified == s.options.Events, "%d of them were verified by the receiver: the caller by its certificate, the message by its signature", verified))
}

func (s *story) publishAll(ctx context.Context, futures chan<- jetstream.PubAckFuture) {
	defer close(futures)
	for i := range s.options.Events {
		_, future, err := s.publish(ctx, "com.acme.order.created", fmt.Sprintf(`{"order":%d,"total":"%d.00"}`, i+1, 10+i%90))
		if err != nil {
			return // its receipt will be missing
		}
		futures <- future
	}
}

func wait(ctx context.Context, futures <-chan jetstream.PubAckFuture) error {
	for future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			return fmt.Errorf("publish: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// follow collects the receipts of the first act and shows how far it is.
func (s *story) follow(ctx context.Context, began time.Time) error {
	step := max(shown, s.options.Events/10)
	for n := 1; n <= s.options.Events; n++ {
		_, rec, err := s.next(ctx, "orders", time.Minute)
		if err != nil {
			return err
		}
		s.first = append(s.first, rec)
		switch {
		case n <= shown:
			if n == 1 {
				s.sayf("  from %s\n  to   %s, issued by %s\n", rec.Client, rec.Server, s.deployment.CA.Certificate().Subject.CommonName)
			}
			s.sayf("  %s\n", rec.line())
		case s.options.Live && (n%50 == 0 || n == s.options.Events):
			s.sayf("\r  … %d of %d, %.0f/s ", n, s.options.Events, float64(n)/time.Since(began).Seconds())
		case !s.options.Live && n%step == 0:
			s.sayf("  … %d of %d\n", n, s.options.Events)
		}
	}
	if s.options.Live && s.options.Events > shown {
		s.sayf("\n")
	}
	return nil
}

// retry is the second act: two refusals, then success.
func (s *story) retry(ctx context.Context) error {
	s.sayf("\nAct 2. A receiver answers 503 twice, then 200; its schedule is 1 s, 2 s\n")
	hook, err := open(s.deployment.CA, s.deployment.CA, nil)
	if err != nil {
		return err
	}
	err = s.subscribe(ctx, hook, "billing", "com.acme.invoice.*", `["1s","2s"]`, http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusOK)
	if err != nil {
		return err
	}
	if _, err := s.publishOne(ctx, "com.acme.invoice.paid", `{"invoice":"2026-0042"}`); err != nil {
		return err
	}
	var due *time.Time
	onTime := true
	for range 3 {
		r, rec, err := s.next(ctx, "billing", 10*time.Second)
		if err != nil {
			return err
		}
		s.sayf("  attempt %d at +%.2f s  %s (HTTP %d)  %s  %s connection\n", r.Attempt, r.At.Sub(r.First).Seconds(), r.Outcome, r.Status, r.Delivery, rec.Connection)
		if due != nil {
			onTime = onTime && !r.At.Before(*due) && r.At.Before(due.Add(time.Second))
		}
		due = r.Next
	}
	seen := hook.arrivals()
	if err := s.checkf(len(seen) == 3 && seen[2].answered == http.StatusOK, "three attempts arrived, each with a signature that its receiver verified"); err != nil {
		return err
	}
	return errors.Join(
		s.checkf(onTime, "each retry came when it was due"),
		s.checkf(seen[0].id == seen[1].id && seen[1].id == seen[2].id, "webhook-id stayed the same: %s", seen[0].id),
		s.checkf(seen[0].timestamp.Before(seen[1].timestamp) && seen[1].timestamp.Before(seen[2].timestamp) &&
			seen[0].signature != seen[1].signature && seen[1].signature != seen[2].signature, "timestamp and signature were new each time"))
}

// refuse is the third act: without mutual trust nothing leaves, and nothing is lost.
func (s *story) refuse(ctx context.Context) error {
	s.sayf("\nAct 3. Three receivers with which there is no mutual trust\n")
	stranger, err := authority.New("Somebody else's authority")
	if err != nil {
		return fmt.Errorf("make another authority: %w", err)
	}
	var mended atomic.Bool
	cases := []struct {
		name, says string
		issuer     *authority.Authority
		change     func(*tls.Config)
		want       delivery.Outcome
	}{
		{"careless", "does not ask for our certificate", s.deployment.CA, func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }, delivery.ClientCertificateNotRequested},
		{"impostor", "has a certificate that we do not trust", stranger, nil, delivery.ServerCertificateUntrusted},
		{"outdated", "does not know our authority", s.deployment.CA, mendable(stranger, &mended), delivery.ClientCertificateRefused},
	}
	hooks := make([]*webhook, len(cases))
	for i, c := range cases {
		if hooks[i], err = open(c.issuer, s.deployment.CA, c.change); err != nil {
			return err
		}
		if err := s.subscribe(ctx, hooks[i], c.name, "com.acme.alert.*", `["3s","3s","3s"]`, http.StatusOK); err != nil {
			return err
		}
	}
	if _, err := s.publishOne(ctx, "com.acme.alert.raised", `{"alert":"stock is low"}`); err != nil {
		return err
	}
	var problems []error
	for i, c := range cases {
		_, rec, err := s.next(ctx, c.name, 10*time.Second)
		if err != nil {
			return err
		}
		s.sayf("\n  %s/%s, a receiver that %s: %s\n    what happened  %s\n    what to do     %s\n", tenant, c.name, c.says, rec.Outcome, rec.Detail, rec.Advice)
		problems = append(problems, s.checkf(rec.Outcome == c.want && hooks[i].content.Load() == 0 && rec.Next != nil,
			"it got nothing, and the delivery is held (next try in %.0f s)", time.Until(*cmpOr(rec.Next)).Seconds()))
	}
	held, err := s.held(ctx, len(cases))
	if err != nil {
		return err
	}
	problems = append(problems, s.checkf(held == len(cases), "%d deliveries wait, none is dropped", held))
	if err := errors.Join(problems...); err != nil {
		return err
	}
	s.sayf("\n  The operator of %s/outdated now trusts our authority …\n", tenant)
	mended.Store(true)
	return s.heal(ctx, hooks[2])
}

func cmpOr(t *time.Time) *time.Time {
	if t == nil {
		return &time.Time{}
	}
	return t
}

// mendable trusts only a stranger's clients until it is mended.
func mendable(stranger *authority.Authority, mended *atomic.Bool) func(*tls.Config) {
	return func(c *tls.Config) {
		bad := c.Clone()
		bad.ClientCAs = x509.NewCertPool()
		bad.ClientCAs.AddCert(stranger.Certificate())
		good := c.Clone()
		for _, config := range []*tls.Config{bad, good} {
			config.NextProtos = []string{"h2", "http/1.1"} // a configuration per client does not inherit the server's
			config.SessionTicketsDisabled = true
		}
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if mended.Load() {
				return good, nil
			}
			return bad, nil
		}
	}
}

func (s *story) heal(ctx context.Context, hook *webhook) error {
	for {
		_, rec, err := s.next(ctx, "outdated", 15*time.Second)
		if err != nil {
			return err
		}
		if rec.Outcome == delivery.Delivered {
			return s.checkf(hook.verified(string(rec.Delivery)), "… and the held delivery has arrived at attempt %d, verified", rec.Attempt)
		}
	}
}

// trace is the fourth act: one trace shows all of it.
func (s *story) trace(ctx context.Context) error {
	s.sayf("\nAct 4. One delivery as an engineer on call sees it\n\n")
	if os.Getenv("OTEL_SDK_DISABLED") == "true" {
		s.sayf("  OTEL_SDK_DISABLED=true switches tracing off, so there is nothing to show.\n")
		return nil
	}
	hook, err := open(s.deployment.CA, s.deployment.CA, nil)
	if err != nil {
		return err
	}
	if err := s.subscribe(ctx, hook, "audit", "com.acme.user.*", "standard", http.StatusOK); err != nil {
		return err
	}
	id, err := s.publishOne(ctx, "com.acme.user.invited", `{"user":"ada"}`)
	if err != nil {
		return err
	}
	if _, _, err := s.next(ctx, "audit", 10*time.Second); err != nil {
		return err
	}
	chain := []string{"publish", "match", "sign v1", "sign v1a", "deliver", "tls.handshake", "POST", "receive"}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	spans, err := s.recorder.Wait(ctx, id, func(spans []telemetry.Span) bool { return len(missing(spans, chain)) == 0 })
	if err != nil {
		return fmt.Errorf("the trace lacks %s: %w", strings.Join(missing(spans, chain), ", "), err)
	}
	for line := range strings.Lines(telemetry.Tree(spans, highlights()...)) {
		s.sayf("  %s", line)
	}
	if to := cmpEnv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"); to != "" {
		s.sayf("\n  The same trace has been sent to %s; look for %s.\n", to, id)
	} else {
		s.sayf("\n  Set OTEL_EXPORTER_OTLP_ENDPOINT to have the same trace in Jaeger.\n")
	}
	return nil
}

func missing(spans []telemetry.Span, names []string) []string {
	var lacking []string
	for _, name := range names {
		if !slices.ContainsFunc(spans, func(span telemetry.Span) bool { return strings.HasPrefix(span.Name, name) }) {
			lacking = append(lacking, name)
		}
	}
	return lacking
}

func highlights() []attribute.Key {
	return []attribute.Key{
		"handfast.endpoints.matched", "handfast.signature.key_id", "handfast.outcome", "handfast.attempt", "tls.protocol.version", "tls.curve",
		"tls.client.name", "tls.server.name", "http.response.status_code", "network.connection.reused",
	}
}

func cmpEnv(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func telemetryProcessors(r *telemetry.Recorder) []sdktrace.SpanProcessor {
	return []sdktrace.SpanProcessor{r}
}
