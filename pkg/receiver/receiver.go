package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/signature"
)

const tracerName = "github.com/handfast/handfast/pkg/receiver"

// New returns middleware that runs its handler for verified deliveries only; see
// the package comment for the order of the checks and the answers. The error
// lists everything that is wrong with the options.
func New(opts Options) (func(http.Handler) http.Handler, error) {
	opts, clients, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	g := guard{Options: opts, clients: clients, tracer: opts.TracerProvider.Tracer(tracerName)}
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

	clients allowed
	tracer  trace.Tracer
}

func (g guard) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	client, err := g.clients.identify(r.TLS, g.Now())
	ctx := r.Context()
	if err == nil {
		// Only a known client may place us in its trace.
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	ctx, span := g.tracer.Start(ctx, "receive", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	if err != nil {
		refuse(w, span, StatusClient, fmt.Errorf("%w: %w", ErrClient, err))
		return
	}
	span.SetAttributes(attribute.String("handfast.client.san", client))
	if r.Method == http.MethodOptions {
		welcome(w, span, r)
		return
	}

	body, status, err := g.read(w, r)
	if err != nil {
		refuse(w, span, status, err)
		return
	}
	verified, err := g.verify(r.Header, body)
	if err != nil {
		refuse(w, span, http.StatusUnauthorized, err)
		return
	}
	span.SetAttributes(
		attribute.String("handfast.delivery.id", verified.ID),
		attribute.String("handfast.signature.scheme", verified.Scheme),
		attribute.String("handfast.signature.key_id", verified.KeyID),
	)
	ctx = context.WithValue(ctx, contextKey{}, Delivery{
		ID: verified.ID, Time: verified.Time, ClientSAN: client,
		Scheme: verified.Scheme, KeyID: verified.KeyID, Body: body,
	})
	next.ServeHTTP(w, withBody(r.WithContext(ctx), body))
}

// read reads the whole body, because a signature says nothing about a part of it.
func (g guard) read(w http.ResponseWriter, r *http.Request) (body []byte, status int, err error) {
	tooLarge := fmt.Errorf("the body is larger than %d bytes", g.MaxBody)
	if r.ContentLength > g.MaxBody {
		return nil, http.StatusRequestEntityTooLarge, tooLarge
	}
	var buffer bytes.Buffer
	if r.ContentLength > 0 {
		// So that it never grows again; a length is only a claim, hence the bound.
		buffer.Grow(int(min(r.ContentLength, DefaultMaxBody)) + bytes.MinRead)
	}
	if _, err := buffer.ReadFrom(http.MaxBytesReader(w, r.Body, g.MaxBody)); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return nil, http.StatusRequestEntityTooLarge, tooLarge
		}
		return nil, http.StatusBadRequest, errors.New("the body did not arrive whole; send it again")
	}
	return buffer.Bytes(), 0, nil
}

// verify refuses any webhook-* field that occurs twice, not only those that are
// signed: whoever reads a field later must not see another value than we did.
func (g guard) verify(header http.Header, body []byte) (signature.Verified, error) {
	for name, values := range header {
		if len(values) > 1 && strings.HasPrefix(strings.ToLower(name), "webhook-") {
			return signature.Verified{}, fmt.Errorf("%w: a webhook-* header occurs more than once; send it once", signature.ErrMalformed)
		}
	}
	return signature.VerifyStandard(header, body, g.Keys, g.Now(), g.Tolerance)
}

// withBody gives the request a body that reads the verified bytes. r is a copy
// already.
func withBody(r *http.Request, body []byte) *http.Request {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	return r
}
