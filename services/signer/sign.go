package signer

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/telemetry"
)

// sign builds the request of a delivery and signs it with every scheme of its endpoint, at this instant.
func (s *Signer) sign(ctx context.Context, e payload, to endpoint.Registered, d delivery.Delivery) (stream.Signed, error) {
	began := time.Now()
	defer func() { s.meters.signing.Record(ctx, time.Since(began).Seconds()) }()
	schemes := to.Signature.Signing(began)
	if err := allowed(to, schemes); err != nil {
		return stream.Signed{}, err
	}
	ring, err := s.keyring.Ring(ctx, to.Key(), schemes)
	if err != nil {
		return stream.Signed{}, err
	}
	header := http.Header{"Content-Type": {e.content}}
	request := signature.Request{
		ID: string(d.ID), Time: began, Method: http.MethodPost, URL: to.URL.String(), Header: header, Body: e.body,
	}
	query, err := signature.Query(request, schemes)
	if err != nil {
		return stream.Signed{}, fmt.Errorf("sign for %s: %w", to.Key(), err)
	}
	request.URL = signature.Extend(request.URL, query)
	how := signature.Signer{Template: signature.Template(to.Signature.Template)}
	if !telemetry.Unrecorded(ctx) {
		how.Around = s.span(ctx)
	}
	fields, used, err := how.Sign(request, schemes, ring)
	if err != nil {
		return stream.Signed{}, fmt.Errorf("sign for %s: %w", to.Key(), err)
	}
	values := make([]string, len(fields))
	for i, field := range fields {
		values[i] = field.Value
		header[field.Name] = values[i : i+1 : i+1]
	}
	stamp, err := s.stamp(d, e.content, e.body)
	if err != nil {
		return stream.Signed{}, err
	}
	keys := make([]string, len(used))
	for i, u := range used {
		keys[i] = u.Scheme + "=" + u.KeyID
	}
	carrier := propagation.MapCarrier{}
	propagator.Inject(ctx, carrier)
	return stream.Signed{
		Delivery: d, Header: header, Body: e.body, Query: query, SignedAt: began, Keys: keys, Stamp: stamp,
		Type: e.kind, Source: e.source, ID: e.id,
		Trace: carrier["traceparent"], TraceState: carrier["tracestate"],
	}, nil
}

// span opens the span of one scheme; it names keys and never shows them.
func (s *Signer) span(ctx context.Context) func(string) func([]signature.Used, error) {
	return func(scheme string) func([]signature.Used, error) {
		_, span := s.tracer.Start(ctx, "sign "+scheme)  //nolint:spancheck // ended by what is returned
		return func(used []signature.Used, err error) { //nolint:spancheck // as above
			ids := make([]string, len(used))
			for i, u := range used {
				ids[i] = u.KeyID
			}
			span.SetAttributes(attribute.String("handfast.signature.scheme", scheme), attribute.String("handfast.signature.key_id", strings.Join(ids, ",")))
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
			}
			span.End()
		}
	}
}
