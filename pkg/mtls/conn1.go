package mtls

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// http1 is a connection that speaks HTTP/1.1 (RFC 9112): one request at a time, written in one piece once proven.
type http1 struct {
	secure  *secureConn
	target  *Target
	options *Options
	manners *manners

	in     *limitedReader
	br     *bufio.Reader
	out    []byte
	proven bool
	broken bool
	// expires is when the receiver said, or we decided, that idling ends.
	expires time.Time
	since   time.Time
}

// limitedReader stops a receiver that answers without end.
type limitedReader struct {
	from io.Reader
	left int
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, &protocolError{reason: "the answer is longer than " + strconv.Itoa(maxHeader+drainedBody) + " bytes"}
	}
	n, err := l.from.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err //nolint:wrapcheck // io.Reader must pass io.EOF through
}

func newHTTP1(secure *secureConn, d *destination) *http1 {
	in := &limitedReader{from: secure}
	now := time.Now()
	return &http1{
		secure: secure, target: &d.target, options: d.options, manners: &d.manners,
		in: in, br: bufio.NewReaderSize(in, 4<<10), since: now, expires: now.Add(d.options.IdleTimeout),
	}
}

func (c *http1) close() { c.secure.abort() }

// usable looks at the socket once the connection has been idle for a while: a receiver that closed meanwhile would
// otherwise cost a failed write. Bytes that nobody asked for end the connection too: they would be taken for the answer
// to the next request.
func (c *http1) usable(now time.Time) bool {
	if c.broken || !now.Before(c.expires) || c.br.Buffered() > 0 {
		return false
	}
	// An unproven connection may have session tickets waiting, which are no reason to give it up.
	return !c.proven || now.Sub(c.since) < 100*time.Millisecond || quiet(c.secure.raw)
}

func (c *http1) exchange(ctx context.Context, r *Request, span trace.SpanContext) (*Response, error) {
	reused := c.proven
	c.in.left = maxHeader + drainedBody
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.secure.SetDeadline(deadline)
	} else {
		_ = c.secure.SetDeadline(time.Time{})
	}
	stop := context.AfterFunc(ctx, func() { _ = c.secure.SetDeadline(time.Unix(1, 0)) })
	response, sent, err := c.send(ctx, r, span)
	if !stop() {
		c.broken = true // the deadline in the past may still be set behind our back
	}
	if err == nil {
		response.Proof, response.Handshake, response.Reused = c.secure.proof, c.secure.handshake, reused
		c.proven = true
		c.since = time.Now()
		return response, nil
	}
	c.broken = true
	if reused && errors.Is(err, errNoAnswer) && ctx.Err() == nil && !isTimeout(err) && remoteAlert(err) == "" {
		return nil, errAnotherConnection
	}
	if errors.Is(err, errAnotherConnection) {
		return nil, errAnotherConnection
	}
	f := exchangeFailure(*c.target, c.secure, err, reused, sent)
	f.Reused = reused
	return nil, f
}

// errNoAnswer marks an end before the first byte of an answer.
var errNoAnswer = errors.New("no byte of an answer")

func (c *http1) send(ctx context.Context, r *Request, span trace.SpanContext) (_ *Response, sent bool, _ error) {
	wait, expect := firstWait(c.manners, c.secure.proof, c.options.FirstWait)
	c.writeHeader(r, span, !c.proven && expect)
	if c.proven {
		c.out = append(c.out, r.Body...)
		if _, err := c.secure.Write(c.out); err != nil {
			return c.afterFailedWrite(r, err)
		}
		response, err := c.read(r)
		return response, true, err
	}
	if _, err := c.secure.Write(c.out); err != nil {
		return c.afterFailedWrite(r, err)
	}
	if c.await(ctx, wait) {
		final, err := c.interim(r)
		if err != nil {
			return nil, false, err
		}
		if final != nil {
			return c.refusedEarly(final, expect)
		}
	} else if expect && ctx.Err() == nil {
		c.manners.silent.Store(true)
	}
	if err := ctx.Err(); err != nil {
		return nil, false, err //nolint:wrapcheck // judged by exchangeFailure
	}
	if _, err := c.secure.Write(r.Body); err != nil {
		return c.afterFailedWrite(r, err)
	}
	response, err := c.read(r)
	return response, true, err
}

// refusedEarly handles a final answer to a request whose body was held back. The connection ends with it: the receiver
// may still count the next bytes as that body.
func (c *http1) refusedEarly(final *Response, expect bool) (*Response, bool, error) {
	c.broken = true
	if expect && final.Status == http.StatusExpectationFailed {
		c.manners.silent.Store(true)
		return nil, false, errAnotherConnection
	}
	return final, false, nil
}

// afterFailedWrite listens for what the receiver said before it closed: an early answer, or an alert.
func (c *http1) afterFailedWrite(r *Request, cause error) (*Response, bool, error) {
	_ = c.secure.SetReadDeadline(time.Now().Add(lastWord))
	response, err := c.read(r)
	if err == nil {
		c.broken = true
		return response, true, nil
	}
	if isTimeout(err) {
		err = cause
	}
	return nil, true, errors.Join(errNoAnswer, err)
}

// await blocks until the receiver says something or the wait is over.
func (c *http1) await(ctx context.Context, wait time.Duration) bool {
	until := time.Now().Add(wait)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	if ctx.Err() != nil {
		return true
	}
	_ = c.secure.SetReadDeadline(until)
	_, err := c.br.Peek(1)
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.secure.SetReadDeadline(deadline)
	} else {
		_ = c.secure.SetReadDeadline(time.Time{})
	}
	return err == nil || !isTimeout(err)
}

// interim reads the answer to the expectation: nil means "go on".
func (c *http1) interim(r *Request) (*Response, error) {
	for range maxInterim {
		response, err := c.readOne(r)
		if err != nil || response.Status >= 200 {
			return response, err
		}
		if response.Status == http.StatusContinue {
			return nil, nil //nolint:nilnil // no final answer yet
		}
	}
	return nil, &protocolError{reason: "too many interim responses"}
}

func (c *http1) read(r *Request) (*Response, error) {
	for range maxInterim + 1 {
		response, err := c.readOne(r)
		if err != nil || response.Status >= 200 {
			return response, err
		}
	}
	return nil, &protocolError{reason: "too many interim responses"}
}

func (c *http1) readOne(r *Request) (*Response, error) {
	if _, err := c.br.Peek(1); err != nil {
		return nil, errors.Join(errNoAnswer, err)
	}
	raw, err := http.ReadResponse(c.br, &http.Request{Method: r.Method})
	if err != nil {
		return nil, malformed(err)
	}
	response := &Response{Status: raw.StatusCode, Header: raw.Header}
	if raw.StatusCode == http.StatusSwitchingProtocols {
		c.broken = true
		return nil, &protocolError{reason: "it wants to switch protocols"}
	}
	if raw.StatusCode < 200 {
		return response, nil
	}
	body := make([]byte, 0, min(keptBody, max(raw.ContentLength, 0)))
	kept := bytes.NewBuffer(body)
	_, err = io.CopyN(kept, raw.Body, keptBody)
	if err == nil {
		_, err = io.CopyN(io.Discard, raw.Body, drainedBody)
	}
	response.Body = kept.Bytes()
	c.idle(raw)
	if !errors.Is(err, io.EOF) {
		// The status has been said and counts; only the connection is not worth keeping.
		c.broken = true
	}
	return response, nil
}

// idle decides how long the connection may wait for its next request.
func (c *http1) idle(raw *http.Response) {
	if raw.Close || !raw.ProtoAtLeast(1, 1) {
		c.broken = true
	}
	idle := c.options.IdleTimeout
	if told, ok := keepAlive(raw.Header.Get("Keep-Alive")); ok {
		// One second less than told (Node closes after five): a request that crosses the close is lost work.
		idle = min(idle, max(0, told-time.Second))
	}
	c.expires = time.Now().Add(idle)
}

func keepAlive(value string) (time.Duration, bool) {
	for part := range strings.SplitSeq(value, ",") {
		name, seconds, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found || !strings.EqualFold(name, "timeout") {
			continue
		}
		n, err := strconv.ParseUint(seconds, 10, 16)
		return time.Duration(n) * time.Second, err == nil //nolint:gosec // 16 bits
	}
	return 0, false
}

func malformed(err error) error {
	if isTimeout(err) || isCut(err) || remoteAlert(err) != "" {
		return err
	}
	var broken *protocolError
	if errors.As(err, &broken) {
		return err
	}
	return &protocolError{reason: "malformed answer"}
}

// writeHeader fills c.out with request line and fields; Pool.Do has checked them.
func (c *http1) writeHeader(r *Request, span trace.SpanContext, expect bool) {
	b := append(c.out[:0], r.Method...)
	b = append(b, ' ')
	b = append(b, r.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\nUser-Agent: "...)
	b = append(b, c.options.UserAgent...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(r.Body)), 10)
	if expect {
		b = append(b, "\r\nExpect: 100-continue"...)
	}
	for name, values := range r.Header {
		if !forwarded(name) {
			continue
		}
		for _, value := range values {
			b = appendField(b, name, value)
		}
	}
	if span.IsValid() {
		b = appendField(b, "traceparent", traceparent(span))
		if state := span.TraceState().String(); state != "" {
			b = appendField(b, "tracestate", state)
		}
	}
	c.out = append(b, "\r\n\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, "\r\n"...)
	b = append(b, name...)
	b = append(b, ": "...)
	return append(b, value...)
}

// traceparent is the W3C form of a span context (Trace Context section 3.2).
func traceparent(span trace.SpanContext) string {
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-" + span.TraceFlags().String()
}
