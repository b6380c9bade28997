package mtls

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Bounds of one exchange.
const (
	// keptBody is how much of a response body is kept.
	keptBody = 4 << 10
	// drainedBody is how much of a response body is read to save the connection; a longer one costs the connection.
	drainedBody = 256 << 10
	// maxHeader bounds status line and fields, counted for each response on its own.
	maxHeader = 64 << 10
	// maxInterim bounds the 1xx answers before the final one.
	maxInterim = 5
	// lastWord is how long a failed write listens for what the receiver said before it closed.
	lastWord = 250 * time.Millisecond
)

// again is an exchange that may be repeated at once: a kept connection had been closed before a byte of an answer, or
// the receiver says that it has not looked at the request.
type again struct {
	fresh   bool     // only a new connection will do
	failure *Failure // what to report when there were too many
}

// Error is the failure's.
func (a *again) Error() string { return a.failure.Error() }

// Unwrap gives the failure.
func (a *again) Unwrap() error { return a.failure }

// connection is one authenticated connection, in either protocol.
type connection interface {
	// exchange sends one request. The error is an *again or a *Failure.
	exchange(ctx context.Context, r *Request, span trace.SpanContext) (*Response, error)
	// usable reports whether another request may be sent; it looks at the connection, without waiting.
	usable(now time.Time) bool
	close()
}

// manners is what a destination remembers of its receiver, shared by its connections.
type manners struct {
	// silent: the receiver let a first request with Expect: 100-continue wait for nothing, or refused to expect.
	silent atomic.Bool
	// fleeting: an HTTP/2 connection ended with the request without a body, so that asking would end each of them.
	fleeting atomic.Bool
	// accepted: the receiver has answered a request under this identity.
	accepted atomic.Bool
}

// firstWait is how long the first request on a connection holds its body back. A refusal takes one round trip after
// our certificate; the handshake has measured that trip.
func firstWait(m *manners, p *Proof, configured time.Duration) (wait time.Duration, expect bool) {
	if !m.silent.Load() {
		return configured, true
	}
	return min(configured, max(4*p.Handshake, 20*time.Millisecond)), false
}

// exchangeFailure judges an error between the handshake and the end of the response. proven says that the receiver has
// shown to accept our certificate.
func exchangeFailure(t Target, c *secureConn, err error, proven, sent bool) *Failure {
	cause := err
	var broken *protocolError
	told := errors.As(err, &broken) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if first := c.firstReadError(); first != nil && (!told || remoteAlert(first) != "") {
		cause = first
	}
	f := judge(t, c.proof, cause, proven)
	f.Handshake, f.BodySent = c.handshake, sent
	return f
}

func judge(t Target, p *Proof, cause error, proven bool) *Failure {
	var broken *protocolError
	alert := remoteAlert(cause)
	lost := &Failure{Kind: ConnectionLost, Basis: Said, Proof: p, cause: cause}
	words, said, stream := streamWords(cause)
	switch {
	case alert != "":
		return alertFailure(t, p, alert, cause)
	case errors.Is(cause, context.Canceled):
		return &Failure{
			Kind: TimedOut, Basis: Ours, Proof: p, cause: cause,
			Detail: "the request to " + t.Authority + " was given up on this side before there was an answer",
			Advice: "A dispatcher that is stopping looks like this; the delivery is tried again",
		}
	case isTimeout(cause), errors.Is(cause, context.DeadlineExceeded):
		return &Failure{
			Kind: TimedOut, Basis: Ours, Proof: p, cause: cause,
			Detail: t.Authority + " did not answer within the endpoint's timeout",
			Advice: "The receiver should answer 2xx as soon as it has stored the message, and work on it afterwards",
		}
	case errors.As(cause, &broken):
		lost.Detail = t.Authority + " sent something that is not a valid HTTP response: " + broken.Error()
		lost.Advice = "Check what listens on that port"
		return lost
	case stream:
		if !said {
			lost.Basis = Inferred
		}
		lost.Detail = t.Authority + " " + words
		lost.Advice = "The receiver's log says why; it will see the same webhook-id again"
		return lost
	case !proven && p.Client != nil:
		return cutFailure(t, p, cause)
	default:
		lost.Basis = Inferred
		lost.Detail = "the connection to " + t.Authority + " ended before a complete answer"
		lost.Advice = "The receiver may have taken the message; it will see the same webhook-id again"
		return lost
	}
}

// protocolError is an answer that breaks HTTP.
type protocolError struct{ reason string }

func (e *protocolError) Error() string { return e.reason }

// hopByHop are the fields that belong to a connection or to the pool itself (RFC 9110 section 7.6.1).
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Host": true, "Content-Length": true, "Expect": true,
	"User-Agent": true, "Traceparent": true, "Tracestate": true, "Proxy-Authorization": true,
}

func forwarded(name string) bool { return !hopByHop[http.CanonicalHeaderKey(name)] }
