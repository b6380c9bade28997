package mtls

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/net/http2"
)

// http2conn is a connection that speaks HTTP/2 (RFC 9113), shared by many requests at a time. When it is born, the
// receiver has answered a ping, which no receiver does whose TLS refuses our certificate. There are receivers, nginx
// above all, whose TLS accepts everybody and whose HTTP refuses, request by request: so the first request is preceded
// by one without a body, and bodies wait for its answer.
type http2conn struct {
	secure  *secureConn
	client  *http2.ClientConn
	target  *Target
	options *Options
	manners *manners
	carried atomic.Bool
	max     int // requests at a time, as the receiver said at the beginning
	// doubtful: a request has timed out, and a ping is on its way to find out whether that was the connection's fault.
	doubtful atomic.Bool
	settled  func() // tells the destination that the doubt is over
	// asking is done once the answer to the request without a body is known, and refusal is what it says; nil is good.
	asking  sync.Once
	refusal atomic.Pointer[Failure]

	// Guarded by the destination. The transport has numbers of its own, but a look at them waits for a peer that does
	// not read, and a reservation there cannot be given back.
	streams int
	expires time.Time
}

// startHTTP2 starts the protocol and waits for the answer to a ping, so that a refusal of our certificate by TLS is
// known before any request exists.
func startHTTP2(ctx context.Context, transport *http2.Transport, secure *secureConn) error {
	secure.starting.Store(true)
	defer secure.starting.Store(false)
	client, err := transport.NewClientConn(secure)
	if err != nil {
		return err //nolint:wrapcheck // judged by exchangeFailure
	}
	secure.client = client
	return client.Ping(ctx) //nolint:wrapcheck // as above
}

func newHTTP2(secure *secureConn, d *destination) *http2conn {
	return &http2conn{
		secure: secure, client: secure.client, target: &d.target, options: d.options, manners: &d.manners, settled: d.settle,
		// A receiver that allows none at the moment gets one that waits.
		max:     max(1, int(secure.client.State().MaxConcurrentStreams)),
		expires: time.Now().Add(d.options.IdleTimeout),
	}
}

// http2Transport carries only the protocol; connections are opened and kept by the pool.
func http2Transport() (*http2.Transport, error) {
	outer := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	inner, err := http2.ConfigureTransports(outer)
	if err != nil {
		return nil, err //nolint:wrapcheck // told by NewPool
	}
	inner.DisableCompression = true
	// No ReadIdleTimeout: its timer, set anew for each frame, doubles the cost of a request. See http2conn.check.
	inner.MaxHeaderListSize = maxHeader
	inner.WriteByteTimeout = 10 * time.Second // a receiver that does not read at all
	// When a receiver lowers its limit later, requests wait for it instead of failing.
	inner.StrictMaxConcurrentStreams = true
	return inner, nil
}

func (c *http2conn) usable(time.Time) bool {
	return !c.doubtful.Load() && c.refusal.Load() == nil && c.client.CanTakeNewRequest()
}

// ask finds out whether the receiver's HTTP refuses our certificate, by an OPTIONS request to the same target. No answer
// within the first wait is no reason to wait longer: its TLS has accepted us. What else goes wrong is left to the
// request itself to meet and to tell.
func (c *http2conn) ask(ctx context.Context, r *Request) *Failure {
	if c.manners.fleeting.Load() || c.secure.proof.Client == nil || len(r.Body) == 0 {
		return nil
	}
	c.asking.Do(func() {
		defer func() {
			if c.refusal.Load() == nil && !c.client.CanTakeNewRequest() {
				c.manners.fleeting.Store(true)
			}
		}()
		wait := c.options.FirstWait
		if end, bounded := ctx.Deadline(); bounded {
			wait = min(wait, time.Until(end)/2) // the message itself needs time, too
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
		defer cancel()
		bare := &Request{Method: http.MethodOptions, Path: r.Path, Host: r.Host}
		raw, err := c.client.RoundTrip(c.request(ctx, bare, trace.SpanContext{}, nil))
		if err != nil {
			return
		}
		defer raw.Body.Close() //nolint:errcheck // the status has been said
		kept, _ := readBody(raw)
		c.refusal.Store(RefusedByPage(*c.target, &Response{
			Status: raw.StatusCode, Header: raw.Header, Body: kept, Proof: c.secure.proof, Handshake: c.secure.handshake,
		}))
	})
	return c.refusal.Load()
}

// check pings after a request that timed out. A connection that a firewall has forgotten would otherwise take request
// after request to their deadlines; a slow receiver answers the ping at once, and the connection goes on.
func (c *http2conn) check() {
	if !c.doubtful.CompareAndSwap(false, true) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.options.HandshakeTimeout)
		defer cancel()
		if c.client.Ping(ctx) != nil {
			c.close()
		}
		c.doubtful.Store(false)
		c.settled()
	}()
}

// close cuts first: a polite end would wait for a peer that does not read.
func (c *http2conn) close() {
	c.secure.abort()
	_ = c.client.Close()
}

func (c *http2conn) exchange(ctx context.Context, r *Request, span trace.SpanContext) (*Response, error) {
	reused := c.carried.Swap(true)
	if refusal := c.ask(ctx, r); refusal != nil {
		told := *refusal
		told.Reused = reused
		return nil, &told
	}
	body := &sentReader{body: bytes.NewReader(r.Body)}
	raw, err := c.client.RoundTrip(c.request(ctx, r, span, body))
	if err != nil {
		f := exchangeFailure(*c.target, c.secure, err, true, body.read.Load())
		f.Reused = reused
		if f.Kind == TimedOut {
			c.check()
		}
		switch unprocessed(err) {
		case refusedStream:
			return nil, &again{failure: f}
		case goneAway:
			return nil, &again{fresh: true, failure: f}
		case maybeProcessed:
			if reused && ctx.Err() == nil && (isCut(err) || lostPing(err)) {
				return nil, &again{fresh: true, failure: f}
			}
		}
		return nil, f
	}
	defer raw.Body.Close() //nolint:errcheck // the status has been said
	kept, _ := readBody(raw)
	return &Response{
		Status: raw.StatusCode, Header: raw.Header, Body: kept,
		Proof: c.secure.proof, Handshake: c.secure.handshake, Reused: reused, BodySent: body.read.Load(),
	}, nil
}

func (c *http2conn) request(ctx context.Context, r *Request, span trace.SpanContext, body *sentReader) *http.Request {
	header := make(http.Header, len(r.Header)+3)
	for name, values := range r.Header {
		if forwarded(name) {
			name = http.CanonicalHeaderKey(name)
			header[name] = append(header[name], values...)
		}
	}
	header.Set("User-Agent", c.options.UserAgent)
	if span.IsValid() {
		header.Set("Traceparent", traceparent(span))
		if state := span.TraceState().String(); state != "" {
			header.Set("Tracestate", state)
		}
	}
	request := &http.Request{
		Method: r.Method, Host: r.Host, Header: header, ContentLength: int64(len(r.Body)), Body: body,
		URL: requestTarget(r), Proto: "HTTP/2.0", ProtoMajor: 2,
	}
	if len(r.Body) == 0 {
		request.Body = http.NoBody
	}
	return request.WithContext(ctx)
}

// requestTarget makes a URL that is written as r.Path byte for byte: a signature may cover it.
func requestTarget(r *Request) *url.URL {
	u := &url.URL{Scheme: "https", Host: r.Host, Opaque: r.Path}
	if strings.HasPrefix(r.Path, "//") { // which would be taken for a host
		u.Opaque = "https://" + r.Host + r.Path
	}
	return u
}

// sentReader notes that the body began to leave.
type sentReader struct {
	body *bytes.Reader
	read atomic.Bool
}

// Read hands out the body.
func (s *sentReader) Read(p []byte) (int, error) {
	s.read.Store(true)
	return s.body.Read(p) //nolint:wrapcheck // io.Reader must pass io.EOF through
}

// Close does nothing; the body is in memory.
func (s *sentReader) Close() error { return nil }

// processing is what an error says of the receiver's work on a request.
type processing uint8

const (
	maybeProcessed processing = iota
	refusedStream             // not processed, the connection is fine
	goneAway                  // not processed, the connection is over
)

// goneTexts are errors of x/net/http2 without exported values: the request never became a stream, or a graceful GOAWAY
// says that it was not looked at. Tests hold the cases of a GOAWAY against the real thing; the other texts are taken
// from its source, so look at them when x/net changes. A text that no longer matches costs the second try at once, and
// sends nothing twice.
var goneTexts = []string{
	"http2: client conn is closed",
	"http2: client conn not usable",
	"http2: client conn could not be established",
	"http2: Transport received Server's graceful shutdown GOAWAY",
}

// unprocessed recognises the cases in which a request may go again with no chance of arriving twice (RFC 9113 section
// 8.7).
func unprocessed(err error) processing {
	if stream, ok := errors.AsType[http2.StreamError](err); ok {
		if stream.Code == http2.ErrCodeRefusedStream {
			return refusedStream
		}
		return maybeProcessed
	}
	if slices.Contains(goneTexts, err.Error()) {
		return goneAway
	}
	return maybeProcessed
}

// lostPing is a connection that had fallen silent, or that the receiver ended with a GOAWAY after it had taken the
// request on.
func lostPing(err error) bool {
	var away http2.GoAwayError
	return errors.As(err, &away) || err.Error() == "http2: client connection lost"
}

// streamWords tells an HTTP/2 error of one stream; ok is false for any other error.
func streamWords(err error) (words string, said, ok bool) {
	var stream http2.StreamError
	if !errors.As(err, &stream) {
		return "", false, false
	}
	switch stream.Code {
	case http2.ErrCodeRefusedStream:
		return "refused the request at once with HTTP/2 REFUSED_STREAM, which means that it has too much to do", true, true
	case http2.ErrCodeHTTP11Required:
		return "wants HTTP/1.1 for this request (HTTP_1_1_REQUIRED), and should not offer HTTP/2 then", true, true
	default:
		said = stream.Cause != nil && stream.Cause.Error() == "received from peer"
		return "ended the request with the HTTP/2 error " + stream.Code.String(), said, true
	}
}
