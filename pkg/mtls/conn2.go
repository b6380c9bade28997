package mtls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/net/http2"
)

// http2conn is a connection that speaks HTTP/2 (RFC 9113), shared by many requests at a time.
type http2conn struct {
	secure  *secureConn
	client  *http2.ClientConn
	target  *Target
	options *Options
	manners *manners
	proven  atomic.Bool
	carried atomic.Bool
}

// newHTTP2 starts the protocol and waits for the answer to a ping. That answer cannot come from a receiver that refuses
// our certificate by TLS, so such a refusal is attributed before any request exists.
func newHTTP2(ctx context.Context, secure *secureConn, d *destination) (*http2conn, *Failure) {
	client, err := d.pool.http2.NewClientConn(secure)
	if err == nil {
		err = client.Ping(ctx)
	}
	if err != nil {
		secure.abort()
		f := exchangeFailure(d.target, secure, err, false, false)
		return nil, f
	}
	return &http2conn{secure: secure, client: client, target: &d.target, options: d.options, manners: &d.manners}, nil
}

// http2Transport carries only the protocol; connections are opened and kept by the pool.
func http2Transport(o *Options) (*http2.Transport, error) {
	outer := &http.Transport{ExpectContinueTimeout: o.FirstWait, DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	inner, err := http2.ConfigureTransports(outer)
	if err != nil {
		return nil, err //nolint:wrapcheck // told by New
	}
	inner.DisableCompression = true
	inner.MaxHeaderListSize = maxHeader
	inner.ReadIdleTimeout = 30 * time.Second
	inner.PingTimeout = 10 * time.Second
	inner.StrictMaxConcurrentStreams = true
	return inner, nil
}

func (c *http2conn) usable(time.Time) bool { return c.client.CanTakeNewRequest() }

func (c *http2conn) close() {
	_ = c.client.Close()
	c.secure.abort()
}

// idle reports whether no request is under way.
func (c *http2conn) idle() bool {
	s := c.client.State()
	return s.StreamsActive == 0 && s.StreamsReserved == 0 && s.StreamsPending == 0
}

func (c *http2conn) exchange(ctx context.Context, r *Request, span trace.SpanContext) (*Response, error) {
	proven, reused := c.proven.Load(), c.carried.Swap(true)
	hold := !proven && !c.manners.silent.Load()
	sent := &sentReader{Reader: bytes.NewReader(r.Body)}
	request := c.request(ctx, r, span, sent, hold)
	raw, err := c.client.RoundTrip(request)
	if err != nil {
		if reused && ctx.Err() == nil && unprocessed(err) {
			return nil, errAnotherConnection
		}
		f := exchangeFailure(*c.target, c.secure, err, proven, sent.read.Load())
		f.Reused = reused
		return nil, f
	}
	defer raw.Body.Close() //nolint:errcheck // the status has been said
	kept := bytes.NewBuffer(nil)
	_, err = io.CopyN(kept, raw.Body, keptBody)
	if err == nil {
		_, _ = io.CopyN(io.Discard, raw.Body, drainedBody)
	}
	c.proven.Store(true)
	return &Response{
		Status: raw.StatusCode, Header: raw.Header, Body: kept.Bytes(),
		Proof: c.secure.proof, Handshake: c.secure.handshake, Reused: reused,
	}, nil
}

func (c *http2conn) request(ctx context.Context, r *Request, span trace.SpanContext, body *sentReader, hold bool) *http.Request {
	header := make(http.Header, len(r.Header)+4)
	for name, values := range r.Header {
		if forwarded(name) {
			header[http.CanonicalHeaderKey(name)] = values
		}
	}
	header.Set("User-Agent", c.options.UserAgent)
	if span.IsValid() {
		header.Set("Traceparent", traceparent(span))
		if state := span.TraceState().String(); state != "" {
			header.Set("Tracestate", state)
		}
	}
	if hold {
		header.Set("Expect", "100-continue")
		ctx = httptrace.WithClientTrace(ctx, c.watch(time.Now()))
	}
	at, err := url.ParseRequestURI(r.Path)
	if err != nil {
		at = &url.URL{Path: r.Path}
	}
	request := &http.Request{
		Method: r.Method, Host: r.Host, Header: header, ContentLength: int64(len(r.Body)), Body: body,
		URL:   &url.URL{Scheme: "https", Host: r.Host, Path: at.Path, RawPath: at.RawPath, RawQuery: at.RawQuery, ForceQuery: at.ForceQuery},
		Proto: "HTTP/2.0", ProtoMajor: 2,
	}
	if len(r.Body) == 0 {
		request.Body = http.NoBody
	}
	return request.WithContext(ctx)
}

// watch learns whether this receiver answers expectations: a wait that ran out means that it does not.
func (c *http2conn) watch(began time.Time) *httptrace.ClientTrace {
	var told atomic.Bool
	return &httptrace.ClientTrace{
		Got100Continue: func() { told.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			if !told.Load() && time.Since(began) >= c.options.FirstWait {
				c.manners.silent.Store(true)
			}
		},
	}
}

// sentReader notes that the body began to leave.
type sentReader struct {
	*bytes.Reader
	read atomic.Bool
}

// Read hands out the body.
func (s *sentReader) Read(p []byte) (int, error) {
	s.read.Store(true)
	return s.Reader.Read(p) //nolint:wrapcheck // io.Reader must pass io.EOF through
}

// WriteTo is hidden so that Read is the only way.
func (s *sentReader) WriteTo(w io.Writer) (int64, error) {
	s.read.Store(true)
	return s.Reader.WriteTo(w) //nolint:wrapcheck // as above
}

// Close does nothing; the body is in memory.
func (s *sentReader) Close() error { return nil }

// unprocessed reports errors that say that the receiver has not worked on this stream (RFC 9113 section 8.7), or that
// the connection had gone before.
func unprocessed(err error) bool {
	var stream http2.StreamError
	if errors.As(err, &stream) {
		return stream.Code == http2.ErrCodeRefusedStream
	}
	var away http2.GoAwayError
	return errors.As(err, &away) || isCut(err)
}
