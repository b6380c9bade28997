package receiver

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/signature"
)

// What holds if the options do not say otherwise.
const (
	// DefaultMaxBody is the largest body, in bytes, that is read.
	DefaultMaxBody = 1 << 20
	// DefaultMaxHeader is the largest header, in bytes, that is looked at.
	DefaultMaxHeader = 64 << 10
	// DefaultRemember is how long the id of a processed delivery is remembered: longer than the whole standard schedule of
	// Handfast, whose tenth attempt comes up to 83 hours after the first one.
	DefaultRemember = 96 * time.Hour
	// DefaultHandlerTimeout is how long a handler may take.
	DefaultHandlerTimeout = time.Minute
)

// leaseGrace is how much longer a claim lasts than its handler.
const leaseGrace = 10 * time.Second

// Options is how a receiver decides whom to believe. Clients and Keys are needed;
// everything else has a safe zero value.
//
// One receiver is for one sender: its certificates, its keys and its ids belong
// together. For a second sender make a second receiver.
type Options struct {
	// Clients are the names that may call: DNS names and absolute URIs, one of
	// which has to be a subject alternative name of the client's certificate.
	// DNS names are compared without regard to case, URIs byte by byte.
	Clients []string
	// Keys verify signatures; one has to match. During a rotation give the old
	// and the new one. The schemes of the keys are those that are accepted, side
	// by side if they are of one strength (the package comment says why); whatever
	// else signs a request is ignored. To change them without a restart make another
	// receiver with the same Store and put it in the place of this one.
	Keys []signature.Verifier
	// Template says how the scheme "template" is written, if there is a key of it.
	Template signature.Template
	// Tolerance is how far a timestamp may be from the clock, to either side.
	// Zero means [signature.DefaultTolerance].
	Tolerance time.Duration
	// MaxBody is the largest body in bytes. Zero means [DefaultMaxBody].
	MaxBody int64
	// MaxHeader is the largest header in bytes. Zero means [DefaultMaxHeader]. The
	// server itself reads up to http.Server.MaxHeaderBytes before that.
	MaxHeader int64
	// Terminator is the proxy that ends TLS in front of this receiver. Nil means
	// that there is none, and that the connection itself has to prove the client.
	Terminator *Terminator
	// Authority is the host, and the port if it has one, that the sender was told,
	// for schemes that sign it. Empty means that of the request; behind a proxy
	// that changes it, give it here. Behind one that changes the path, put the path
	// and query that the sender was told into the request's RequestURI first, in a
	// handler around this one.
	Authority string
	// Store remembers deliveries, so that each is processed once. Nil means
	// [NewMemory] with its default size: right for one process.
	Store Store
	// Realm keeps the ids of receivers that share a Store apart: one for each
	// sender. Receivers of the same sender on several paths or machines share one.
	Realm string
	// Remember is how long a processed delivery is known as a duplicate; give the
	// sender's whole retry schedule. Zero means [DefaultRemember]; twice the
	// Tolerance is the least.
	Remember time.Duration
	// Origins are the senders that may deliver, for those that ask by OPTIONS before
	// they do (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4): DNS names,
	// compared whole and without regard to case, or "*" for every origin. Without
	// any, such a sender is told of no permission and keeps its messages. It makes
	// nobody else known: the certificate has to be that of one of the Clients in any
	// case.
	Origins []string
	// Rate is how many requests per minute those senders are allowed; they are held
	// to it by themselves. Zero is no limit.
	Rate int
	// AdobeClientIDs are the client ids that a sender like Adobe Acrobat Sign may
	// name in X-AdobeSign-ClientId. Every answer repeats it, that to its
	// verification of intent (GET) included; a request without one of them is
	// refused. Without any, the field means nothing here.
	AdobeClientIDs []string
	// HandlerTimeout ends the context of a handler that takes longer. As long, and
	// 10 s more, a process that died keeps others from processing the same
	// delivery. Zero means [DefaultHandlerTimeout].
	HandlerTimeout time.Duration
	// TracerProvider gets the span "receive". Without one, OpenTelemetry's global
	// provider is used, which does nothing until the program sets it.
	TracerProvider trace.TracerProvider
	// Now is the clock. Without one, time.Now.
	Now func() time.Time
}

// guard checks every option and fills in what was left out.
func (o Options) guard() (guard, error) {
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	clients, err := parseClients(o.Clients)
	note(err)
	schemes, err := checkKeys(o.Keys, o.Template)
	note(err)
	note(o.checkNumbers())
	note(o.checkConsent())
	var proxy *terminator
	if o.Terminator != nil {
		proxy, err = o.Terminator.check()
		note(err)
	}
	o = o.withDefaults()
	if o.Remember < 2*o.Tolerance {
		note(fmt.Errorf("Remember is %s, which is less than twice the Tolerance; a replay could come after it was forgotten", o.Remember)) //nolint:staticcheck // the name of a field
	}
	if err := errors.Join(problems...); err != nil {
		return guard{}, fmt.Errorf("receiver options: %w", err)
	}
	return guard{
		Options: o, clients: clients, schemes: schemes, terminator: proxy, tracer: o.TracerProvider.Tracer(tracerName),
		ledger: ledger{
			store: o.Store, realm: o.Realm, now: o.Now,
			lease: o.HandlerTimeout + leaseGrace, remember: o.Remember, tolerance: o.Tolerance,
		},
	}, nil
}

func (o Options) checkNumbers() error {
	var problems []error
	for _, n := range []struct {
		name     string
		negative bool
		value    any
	}{
		{"Tolerance", o.Tolerance < 0, o.Tolerance},
		{"MaxBody", o.MaxBody < 0, o.MaxBody},
		{"MaxHeader", o.MaxHeader < 0, o.MaxHeader},
		{"Remember", o.Remember < 0, o.Remember},
		{"HandlerTimeout", o.HandlerTimeout < 0, o.HandlerTimeout},
	} {
		if n.negative {
			problems = append(problems, fmt.Errorf("%s is %v; it cannot be negative", n.name, n.value))
		}
	}
	return errors.Join(problems...)
}

func (o Options) withDefaults() Options {
	if o.Tolerance == 0 {
		o.Tolerance = signature.DefaultTolerance
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxHeader == 0 {
		o.MaxHeader = DefaultMaxHeader
	}
	if o.Remember == 0 {
		o.Remember = max(DefaultRemember, 2*o.Tolerance)
	}
	if o.HandlerTimeout == 0 {
		o.HandlerTimeout = DefaultHandlerTimeout
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Store == nil {
		o.Store = newMemory(DefaultMemory, o.Now)
	}
	o.Keys = slices.Clone(o.Keys)
	o.Origins, o.AdobeClientIDs = slices.Clone(o.Origins), slices.Clone(o.AdobeClientIDs)
	return o
}
