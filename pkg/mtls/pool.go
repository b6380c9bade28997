package mtls

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

const scope = "github.com/handfast/handfast/pkg/mtls"

// Options are the bounds of a pool. The zero value is complete and strict.
type Options struct {
	// Addresses is asked at every dial, after name resolution. The zero value refuses every private address.
	Addresses AddressPolicy
	// Dial opens a TCP connection, to a receiver or to a host of CRLs. Default: a net.Dialer under Addresses. Tests
	// replace the network here.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// DialLimit bounds the handshakes under way to one destination. Default 4.
	DialLimit int
	// ConnectionLimit bounds the open connections to one destination. Default 256.
	ConnectionLimit int
	// IdleTimeout closes a connection that carried nothing for so long. Default 55 s, just below the 60 s and more
	// that receivers commonly wait.
	IdleTimeout time.Duration
	// HandshakeTimeout bounds name look-up, TCP and TLS together. Default 10 s.
	HandshakeTimeout time.Duration
	// FirstWait is how long the first request on a connection waits for the receiver's word before its body leaves.
	// Default 1 s.
	FirstWait time.Duration
	// UserAgent names the sender. Default "Handfast".
	UserAgent      string
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

func (o *Options) fill() {
	if o.Dial == nil {
		// Happy eyeballs and keep-alive are the dialer's; the address is judged at the socket, so that no answer of
		// a name server can lead past the policy.
		o.Dial = (&net.Dialer{ControlContext: o.Addresses.Control}).DialContext
	}
	number := func(n *int, fallback int) {
		if *n <= 0 {
			*n = fallback
		}
	}
	duration := func(d *time.Duration, fallback time.Duration) {
		if *d <= 0 {
			*d = fallback
		}
	}
	number(&o.DialLimit, 4)
	number(&o.ConnectionLimit, 256)
	duration(&o.IdleTimeout, 55*time.Second)
	duration(&o.HandshakeTimeout, 10*time.Second)
	duration(&o.FirstWait, time.Second)
	if o.UserAgent == "" {
		o.UserAgent = "Handfast"
	}
	if o.TracerProvider == nil {
		o.TracerProvider = tracenoop.NewTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = metricnoop.NewMeterProvider()
	}
}

// Pool keeps authenticated connections per destination and sends requests on them. It is safe for concurrent use.
type Pool struct {
	options Options
	tracer  trace.Tracer
	http2   *http2.Transport
	revoked *Revocation
	meters  meters

	mu           sync.Mutex
	closed       bool
	destinations map[key]*destination
	// current remembers the identity generation in use per terms, so that a new one drains the old.
	current map[key]string
}

// key is everything that makes connections interchangeable: authority, generation of identity and of trust, and the
// demands. No two identities ever share a connection or a session. Where revocation is checked, the generation also
// changes every hour, so that no connection lives on an old answer.
type key struct {
	authority, serverName, name, identity, trust string
	mutual                                       Mutual
	minVersion                                   MinVersion
}

type meters struct {
	handshakes  metric.Int64Counter
	handshake   metric.Float64Histogram
	connections metric.Int64UpDownCounter
}

// NewPool makes a pool. The error is a user agent that is no header value, or comes from a meter provider that refuses
// an instrument.
func NewPool(o Options) (*Pool, error) {
	o.fill()
	if !httpguts.ValidHeaderFieldValue(o.UserAgent) {
		return nil, fmt.Errorf("the user agent %q is not a valid header value", o.UserAgent)
	}
	transport, err := http2Transport()
	if err != nil {
		return nil, fmt.Errorf("start HTTP/2: %w", err)
	}
	meter := o.MeterProvider.Meter(scope)
	p := &Pool{
		options: o, tracer: o.TracerProvider.Tracer(scope), http2: transport, revoked: NewRevocation(o.Dial),
		destinations: make(map[key]*destination), current: make(map[key]string),
	}
	var errs [3]error
	p.meters.handshakes, errs[0] = meter.Int64Counter("handfast.tls.handshakes",
		metric.WithDescription("TLS handshakes that ended, by result"))
	p.meters.handshake, errs[1] = meter.Float64Histogram("handfast.tls.handshake.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from dialling to an authenticated connection"))
	p.meters.connections, errs[2] = meter.Int64UpDownCounter("handfast.connections",
		metric.WithDescription("Authenticated connections that are open"))
	return p, errors.Join(errs[:]...)
}

// Close retires every destination. Exchanges under way end by their own contexts, and what is asked for afterwards gets
// a connection that is not kept.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	all := slices.Collect(maps.Values(p.destinations))
	clear(p.destinations)
	clear(p.current)
	p.mu.Unlock()
	for _, d := range all {
		d.retire()
	}
}

// maxTries bounds the connections that one call uses up.
const maxTries = 3

// Do sends one request to the target and returns the answer, whatever its status. The error is a *[Failure], or a
// *[RequestError]. When ctx ends, so does the exchange; a handshake under way goes on for those who come after.
//
// A request is repeated within one call only when a kept connection turns out to have been closed by the receiver
// before any byte of an answer, or when the receiver says that it has not looked at it. In the first case the receiver
// may see the same message twice.
func (p *Pool) Do(ctx context.Context, t Target, r *Request) (*Response, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	d, err := p.destination(t)
	if err != nil {
		return nil, &Failure{
			Kind: NoIdentity, Basis: Ours, cause: err,
			Detail: "there is no usable client certificate to show to " + t.Authority + ": " + err.Error(),
			Advice: "Mend the dispatcher's identity; the delivery waits for it",
		}
	}
	fresh := false
	for tries := 1; ; tries++ {
		conn, failure := d.acquire(ctx, fresh)
		if failure != nil {
			return nil, failure
		}
		response, err := p.exchange(ctx, conn, t, r)
		d.release(conn)
		var repeat *again
		if !errors.As(err, &repeat) {
			return response, err //nolint:wrapcheck // a *Failure by contract
		}
		if tries == maxTries {
			return nil, repeat.failure
		}
		fresh = repeat.fresh
	}
}

// exchange wraps one request in its client span (OpenTelemetry HTTP conventions); that span is what the receiver's own
// continues.
func (p *Pool) exchange(ctx context.Context, conn connection, t Target, r *Request) (*Response, error) {
	if caller := trace.SpanContextFromContext(ctx); caller.IsValid() && !caller.IsSampled() {
		// Nobody records this trace: pass the caller's context on and build nothing.
		return conn.exchange(ctx, r, caller)
	}
	ctx, span := p.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	response, err := conn.exchange(ctx, r, span.SpanContext())
	if !span.IsRecording() {
		return response, err
	}
	host, port, _ := net.SplitHostPort(t.Authority)
	// No url.full: path and query of a webhook often are its receiver's secret.
	span.SetAttributes(
		attribute.String("http.request.method", r.Method),
		attribute.String("url.scheme", "https"),
		attribute.String("server.address", host),
		attribute.Int("server.port", portNumber(port)),
		attribute.Int("http.request.body.size", len(r.Body)),
	)
	var failure *Failure
	switch {
	case err == nil:
		span.SetAttributes(
			attribute.Int("http.response.status_code", response.Status),
			attribute.Bool("network.connection.reused", response.Reused),
			attribute.String("network.peer.address", response.Proof.Remote),
			attribute.String("network.protocol.version", protocolVersion(response.Proof.ALPN)),
		)
		if response.Status >= 300 {
			span.SetStatus(codes.Error, fmt.Sprintf("HTTP %d", response.Status))
		}
	case errors.As(err, &failure):
		span.SetAttributes(attribute.String("error.type", failure.Kind.String()), attribute.Bool("network.connection.reused", failure.Reused))
		span.SetStatus(codes.Error, failure.Error())
	default:
		span.SetStatus(codes.Error, err.Error())
	}
	return response, err
}

func portNumber(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

func protocolVersion(alpn string) string {
	if alpn == "h2" {
		return "2"
	}
	return "1.1"
}
