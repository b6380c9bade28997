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
	// maxHeader bounds status line and fields, each interim response included.
	maxHeader = 64 << 10
	// maxInterim bounds the 1xx answers before the final one.
	maxInterim = 5
	// lastWord is how long a failed write listens for what the receiver said before it closed.
	lastWord = 250 * time.Millisecond
)

// errAnotherConnection says that the same request may go on another connection at once: this one was closed between two
// requests before a byte of an answer, or the receiver dislikes expectations.
var errAnotherConnection = errors.New("the request may go on another connection")

// connection is one authenticated connection, in either protocol.
type connection interface {
	// exchange sends one request. The error is errAnotherConnection or a *Failure.
	exchange(ctx context.Context, r *Request, span trace.SpanContext) (*Response, error)
	// usable reports whether another request may be sent; it may look at the socket.
	usable(now time.Time) bool
	close()
}

// manners is what a destination remembers of its receiver, shared by its connections.
type manners struct {
	// silent: the receiver let a first request with Expect: 100-continue wait for nothing, or refused to expect.
	silent atomic.Bool
}

// firstWait is how long the first request on a connection holds its body back. A refusal takes one round trip after
// our certificate; the handshake has measured that trip.
func firstWait(m *manners, p *Proof, configured time.Duration) (wait time.Duration, expect bool) {
	if !m.silent.Load() {
		return configured, true
	}
	return min(configured, max(4*p.Handshake, 20*time.Millisecond)), false
}

// exchangeFailure judges an error between the handshake and the end of the response.
func exchangeFailure(t Target, c *secureConn, err error, proven, sent bool) *Failure {
	cause := err
	if first := c.firstReadError(); first != nil {
		cause = first
	}
	f := judge(t, c.proof, cause, proven)
	f.Handshake, f.BodySent = c.handshake, sent
	return f
}

func judge(t Target, p *Proof, cause error, proven bool) *Failure {
	var broken *protocolError
	alert := remoteAlert(cause)
	switch {
	case alert != "":
		return alertFailure(t, p, alert, cause)
	case isTimeout(cause), errors.Is(cause, context.DeadlineExceeded), errors.Is(cause, context.Canceled):
		return &Failure{
			Kind: TimedOut, Basis: Ours, Proof: p, cause: cause,
			Detail: t.Authority + " did not answer within the endpoint's timeout",
			Advice: "The receiver should answer 2xx as soon as it has stored the message, and work on it afterwards",
		}
	case errors.As(cause, &broken):
		return &Failure{
			Kind: ConnectionLost, Basis: Said, Proof: p, cause: cause,
			Detail: t.Authority + " sent something that is not a valid HTTP response: " + broken.Error(),
			Advice: "Check what listens on that port",
		}
	case !proven && p.Client != nil:
		return cutFailure(t, p, cause)
	default:
		return &Failure{
			Kind: ConnectionLost, Basis: Inferred, Proof: p, cause: cause,
			Detail: "the connection to " + t.Authority + " ended before a complete answer",
			Advice: "The receiver may have taken the message; it will see the same webhook-id again",
		}
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
