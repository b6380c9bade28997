package dispatcher

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

// result is what is known about one attempt.
type result struct {
	*held

	to       endpoint.Registered
	known    bool
	disabled bool
	// waits tells that the endpoint takes nothing at present: the signer puts the delivery into its backlog.
	waits bool
	// presented names the identity of the attempt; fell tells that the receiver has refused it as the next one of a
	// rotation, so that the one before is presented again.
	presented string
	fell      bool
	// hold is set when this attempt has shown that the endpoint must wait, and freed when it has shown the contrary.
	hold  *endpoint.Held
	freed bool
	// try counts how often it was tried to store this result, from 1.
	try int
	// moved tells that the next place of the delivery is stored, or that there is none; told that its receipt is.
	moved   bool
	told    bool
	began   time.Time
	took    time.Duration
	verdict delivery.Verdict

	proof     *mtls.Proof
	handshake trace.SpanContext
	reused    bool
}

// fill turns what the pool says into a verdict.
func (r *result) fill(target mtls.Target, response *mtls.Response, err error) {
	var failure *mtls.Failure
	var invalid *mtls.RequestError
	switch {
	case errors.As(err, &failure):
		r.failed(failure)
	case errors.As(err, &invalid):
		r.verdict = ours(delivery.Rejected, invalid.Error(), "This is a fault of Handfast or of a foreign writer; the request is kept as a dead letter")
	case err != nil:
		r.verdict = ours(delivery.ConnectionLost, err.Error(), "")
	default:
		r.proof, r.handshake, r.reused = response.Proof, response.Handshake, response.Reused
		if refused := mtls.RefusedByPage(target, response); refused != nil {
			r.failed(refused)
			return
		}
		r.verdict = answer(target.Authority, response, time.Now())
	}
}

// goneSince is the status of an endpoint whose receiver wants nothing more, for the document that was in force.
func (r *result) goneSince() *endpoint.Disabled {
	return &endpoint.Disabled{At: r.began.Add(r.took).UTC(), Reason: r.verdict.Detail, Revision: r.to.Revision}
}

func (r *result) failed(f *mtls.Failure) {
	r.proof, r.handshake, r.reused = f.Proof, f.Handshake, f.Reused
	r.verdict = delivery.Verdict{Outcome: outcomeOf(f.Kind), Origin: originOf(f.Basis), Status: f.Status, Detail: f.Detail, Advice: f.Advice}
}

// outcomeOf is the bridge between what mtls finds and what a delivery ends in.
func outcomeOf(k mtls.Kind) delivery.Outcome {
	switch k {
	case mtls.ClientCertificateNotRequested:
		return delivery.ClientCertificateNotRequested
	case mtls.ClientCertificateRefused:
		return delivery.ClientCertificateRefused
	case mtls.ServerCertificateUntrusted:
		return delivery.ServerCertificateUntrusted
	case mtls.ServerCertificateExpired:
		return delivery.ServerCertificateExpired
	case mtls.ServerNameMismatch:
		return delivery.ServerNameMismatch
	case mtls.ServerCertificateRevoked:
		return delivery.ServerCertificateRevoked
	case mtls.HandshakeFailed:
		return delivery.HandshakeFailed
	case mtls.NameNotResolved:
		return delivery.NameNotResolved
	case mtls.ConnectionRefused:
		return delivery.ConnectionRefused
	case mtls.TimedOut:
		return delivery.TimedOut
	case mtls.ConnectionLost:
		return delivery.ConnectionLost
	case mtls.AddressForbidden:
		return delivery.AddressForbidden
	case mtls.NoIdentity:
		return delivery.NoIdentity
	}
	return delivery.HandshakeFailed
}

func originOf(b mtls.Basis) delivery.Origin {
	switch b {
	case mtls.Said:
		return delivery.Said
	case mtls.Inferred:
		return delivery.Inferred
	case mtls.Ours:
		return delivery.Ours
	}
	return delivery.Inferred
}

// answer judges an HTTP status (DESIGN.md section 6; RFC 9110 section 15; Standard Webhooks 1.0.0).
func answer(authority string, response *mtls.Response, now time.Time) delivery.Verdict {
	v := delivery.Verdict{Origin: delivery.Said, Status: response.Status, Detail: fmt.Sprintf("%s answered HTTP %d", authority, response.Status)}
	switch status := response.Status; {
	case status >= 200 && status < 300:
		v.Outcome, v.Detail = delivery.Delivered, ""
	case status >= 300 && status < 400:
		v.Outcome = delivery.Redirected
		v.Detail += ", a redirect, which is never followed"
		v.Advice = "Set the endpoint's url to where the receiver really is"
	case status == http.StatusGone:
		v.Outcome = delivery.Gone
		v.Detail += ": it wants no more messages"
		v.Advice = "The endpoint is disabled; apply its document again to enable it"
	case status == http.StatusTooManyRequests:
		v.Outcome = delivery.Throttled
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
		v.Outcome = delivery.Unavailable
	case status >= 400:
		v.Outcome = delivery.Rejected
		v.Advice = "The receiver's log says why; the whole request is kept as a dead letter and can be replayed"
	default:
		v.Outcome = delivery.Unavailable
	}
	if v.Outcome == delivery.Throttled || v.Outcome == delivery.Unavailable {
		v.RetryAfter = delivery.ParseRetryAfter(response.Header.Get("Retry-After"), now)
	}
	return v
}

// outcomeLabels makes the metric label of every outcome, once.
func outcomeLabels() map[delivery.Outcome]metric.MeasurementOption {
	labels := make(map[delivery.Outcome]metric.MeasurementOption)
	for _, o := range delivery.Outcomes() {
		labels[o] = metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", o.String())))
	}
	return labels
}
