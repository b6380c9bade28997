package receiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/signature"
)

const tracerName = "github.com/handfast/handfast/pkg/receiver"

// New returns middleware that runs its handler for verified deliveries only, and
// once for each; see the package comment for the order of the checks and the
// answers. The error lists everything that is wrong with the options.
func New(opts Options) (func(http.Handler) http.Handler, error) {
	g, err := opts.guard()
	if err != nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, next) })
	}, nil
}

// StatusClient is the answer to a client whose certificate is missing or carries no name on the list: nginx's status for
// an SSL certificate error. Senders that know it, Handfast among them, hold the message until that is mended; 403 would
// tell them that the message itself is unwanted, and they would give it up.
const StatusClient = 495

type guard struct {
	Options

	clients    allowed
	schemes    []string
	terminator *terminator
	ledger     ledger
	tracer     trace.Tracer
}

func (g guard) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	ctx := r.Context()
	var (
		client string
		err    error
	)
	oversize := headerSize(r.Header) > g.MaxHeader
	if !oversize {
		client, err = g.identify(r, g.Now())
	}
	if err == nil && !oversize {
		// Only a known client may place us in its trace.
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	ctx, span := g.tracer.Start(ctx, "receive", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	switch {
	case oversize:
		refuse(w, span, http.StatusRequestHeaderFieldsTooLarge, errHeaderSize)
		return
	case err != nil:
		refuse(w, span, StatusClient, fmt.Errorf("%w: %w", ErrClient, err))
		return
	}
	span.SetAttributes(attribute.String("handfast.client.san", client))
	switch r.Method {
	case http.MethodOptions:
		g.welcome(w, span, r)
	case http.MethodPost:
		if !g.echo(w, r) {
			refuse(w, span, http.StatusForbidden, errClientID)
			return
		}
		g.receive(w, r.WithContext(ctx), client, next)
	default:
		if r.Method == http.MethodGet && len(g.AdobeClientIDs) > 0 {
			g.intend(w, span, r)
			return
		}
		w.Header().Set("Allow", g.methods())
		refuse(w, span, http.StatusMethodNotAllowed, errors.New("a webhook is delivered by POST"))
	}
}

// receive has a request of a known client.
func (g guard) receive(w http.ResponseWriter, r *http.Request, client string, next http.Handler) {
	ctx := r.Context()
	span := trace.SpanFromContext(ctx)
	if status, err := plain(r.Header); err != nil {
		refuse(w, span, status, err)
		return
	}
	body, status, err := g.read(w, r)
	if err != nil {
		refuse(w, span, status, err)
		return
	}
	verified, err := g.verify(r, body)
	if err != nil {
		refuse(w, span, http.StatusUnauthorized, err)
		return
	}
	a := g.ledger.attempt(verified, body)
	d := Delivery{
		ID: verified.ID, Time: verified.Time, ClientSAN: client,
		Scheme: verified.Scheme, KeyID: verified.KeyID, Body: body,
		contentType: r.Header.Get("Content-Type"),
	}
	if d.ID == "" {
		d.ID = a.key
	}
	span.SetAttributes(
		attribute.String("handfast.delivery.id", d.ID),
		attribute.String("handfast.signature.scheme", d.Scheme),
		attribute.String("handfast.signature.key_id", d.KeyID),
	)
	g.once(w, withBody(r.WithContext(context.WithValue(ctx, contextKey{}, d)), body), a, next)
}

// verify asks each scheme that has a key. The first that holds counts: they are of one strength, and tell the same id.
func (g guard) verify(r *http.Request, body []byte) (signature.Verified, error) {
	request := signature.Received{
		Method: r.Method, Authority: cmp.Or(g.Authority, r.Host), Target: r.RequestURI, Header: r.Header, Body: body,
		Template: g.Template,
	}
	var refusal error
	for _, scheme := range g.schemes {
		verified, err := signature.Verify(scheme, request, g.Keys, g.Now(), g.Tolerance)
		if err == nil && !strengthOf(scheme, g.Template).met(verified) {
			err = fmt.Errorf("%w: the signature does not cover what its scheme promises", signature.ErrMalformed)
		}
		if err == nil {
			return verified, nil
		}
		// That a scheme's header is missing says little when another one is there and wrong.
		if refusal == nil || errors.Is(refusal, signature.ErrMissingHeader) {
			refusal = err
		}
	}
	return signature.Verified{}, refusal
}
