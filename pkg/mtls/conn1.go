package mtls

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// http1 is a connection that speaks HTTP/1.1 (RFC 9112): one request at a time, written in one piece once the receiver
// has been heard.
type http1 struct {
	secure  *secureConn
	target  *Target
	options *Options
	manners *manners

	in  *limitedReader
	br  *bufio.Reader
	ask http.Request // what the parser of answers wants to know
	out []byte

	heard   bool // the receiver has sent a byte of HTTP, so its TLS has accepted our certificate
	carried bool // a request has been sent
	broken  bool
	// expires is when the receiver said, or we decided, that idling ends.
	expires time.Time
}

// maxKeptOutput is how much room for headers and a body a connection keeps between two requests.
const maxKeptOutput = 16 << 10

func newHTTP1(secure *secureConn, d *destination) *http1 {
	in := &limitedReader{from: secure}
	return &http1{
		secure: secure, target: &d.target, options: d.options, manners: &d.manners,
		in: in, br: bufio.NewReaderSize(in, 4<<10), expires: time.Now().Add(d.options.IdleTimeout),
	}
}

func (c *http1) close() { c.secure.abort() }

// usable looks at the connection just before it is used again. A receiver that has closed it would cost a failed write;
// bytes that nobody asked for would be taken for the answer to the next request, wherever they wait: in our buffer, in
// the TLS layer's, or in the kernel. Session tickets are consumed on the way and are no reason to give up.
func (c *http1) usable(now time.Time) bool {
	if c.broken || !now.Before(c.expires) || c.br.Buffered() > 0 {
		return false
	}
	c.in.left = maxHeader
	c.secure.wire.looking = true
	_, err := c.br.Peek(1)
	c.secure.wire.looking = false
	return isTimeout(err)
}

func (c *http1) exchange(ctx context.Context, r *Request, span trace.SpanContext) (*Response, error) {
	reused := c.carried
	if err := ctx.Err(); err != nil {
		return nil, c.failure(err, reused, false)
	}
	c.carried = true
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.secure.SetDeadline(deadline)
	} else {
		_ = c.secure.SetDeadline(time.Time{})
	}
	stop := context.AfterFunc(ctx, func() { _ = c.secure.SetDeadline(longAgo) })
	response, sent, err := c.send(ctx, r, span)
	if !stop() {
		c.broken = true // the deadline in the past may still be set behind our back
	}
	if cap(c.out) > 4*maxKeptOutput {
		c.out = nil
	}
	if err == nil {
		response.Proof, response.Handshake, response.Reused, response.BodySent = c.secure.proof, c.secure.handshake, reused, sent
		c.manners.accepted.Store(true)
		return response, nil
	}
	c.broken = true
	if ctx.Err() != nil && remoteAlert(err) == "" {
		err = ctx.Err() // which looks like all sorts of things from below
	}
	failure := c.failure(err, reused, sent)
	switch {
	case errors.Is(err, errNoExpectations):
		return nil, &again{fresh: true, failure: failure}
	case reused && errors.Is(err, errNoAnswer) && ctx.Err() == nil && !isTimeout(err) && remoteAlert(err) == "":
		return nil, &again{fresh: true, failure: failure}
	default:
		return nil, failure
	}
}

func (c *http1) failure(err error, reused, sent bool) *Failure {
	// A receiver that has accepted us before and cuts after it has seen the body may choke on the body.
	proven := c.heard || sent && c.manners.accepted.Load()
	f := exchangeFailure(*c.target, c.secure, err, proven, sent)
	f.Reused = reused
	return f
}

var (
	// errNoAnswer marks an end before the first byte of an answer.
	errNoAnswer = errors.New("no byte of an answer")
	// errNoExpectations is HTTP 417: the same request may go without an expectation.
	errNoExpectations = errors.New("the receiver refuses expectations")
	// longAgo is a deadline that ends whatever is under way.
	longAgo = time.Unix(1, 0)
)

// send writes a request and reads its answer. sent tells whether a byte of the body may have left.
func (c *http1) send(ctx context.Context, r *Request, span trace.SpanContext) (_ *Response, sent bool, _ error) {
	if c.heard || c.secure.proof.Client == nil || len(r.Body) == 0 {
		return c.sendAtOnce(ctx, r, span)
	}
	wait, expect := firstWait(c.manners, c.secure.proof, c.options.FirstWait)
	c.writeHeader(r, span, expect)
	if _, err := c.secure.Write(c.out); err != nil {
		return c.afterFailedWrite(ctx, r, err, false)
	}
	final, silent, err := c.firstWord(ctx, r, wait)
	switch {
	case err != nil:
		return nil, false, err
	case final != nil:
		return c.answeredEarly(r, final, expect)
	case silent && expect:
		c.manners.silent.Store(true)
	}
	if _, err := c.secure.Write(r.Body); err != nil {
		return c.afterFailedWrite(ctx, r, err, true)
	}
	response, err := c.read(r)
	return response, true, err
}

func (c *http1) sendAtOnce(ctx context.Context, r *Request, span trace.SpanContext) (_ *Response, sent bool, _ error) {
	c.writeHeader(r, span, false)
	body := r.Body
	if len(c.out)+len(body) <= maxKeptOutput { // one TLS record, one packet or few
		c.out = append(c.out, body...)
		sent, body = len(body) > 0, nil
	}
	_, err := c.secure.Write(c.out)
	if err == nil && len(body) > 0 {
		sent = true
		_, err = c.secure.Write(body)
	}
	if err != nil {
		return c.afterFailedWrite(ctx, r, err, sent)
	}
	response, err := c.read(r)
	return response, sent, err
}

// answeredEarly handles a final answer to a request whose body was held back. The connection ends with it: the receiver
// may still count the next bytes as that body.
//
// A success is of no use to anybody who has not seen the message, and there are receivers that answer first and read
// afterwards; so the body follows as it would have without the expectation.
func (c *http1) answeredEarly(r *Request, final *Response, expect bool) (*Response, bool, error) {
	c.broken = true
	switch {
	case expect && final.Status == http.StatusExpectationFailed:
		c.manners.silent.Store(true)
		return nil, false, errNoExpectations
	case final.Status < 300:
		_, _ = c.secure.Write(r.Body) // the status has been said and counts
		return final, true, nil
	default:
		return final, false, nil
	}
}

// afterFailedWrite listens for what the receiver said before it closed or stopped reading: an early answer, or an alert.
func (c *http1) afterFailedWrite(ctx context.Context, r *Request, cause error, sent bool) (*Response, bool, error) {
	wait := lastWord
	if ctx.Err() != nil || isTimeout(cause) {
		wait = time.Millisecond // only for what is there already
	}
	_ = c.secure.SetReadDeadline(time.Now().Add(wait))
	response, err := c.read(r)
	if err == nil {
		c.broken = true
		return response, sent, nil
	}
	if isTimeout(err) {
		err = cause
	}
	return nil, sent, errors.Join(errNoAnswer, err)
}

// firstWord waits for the receiver to say something to a request whose body is held back. No answer and no error mean
// that the body may go: because the receiver said so, or, if silent, because it said nothing for so long.
func (c *http1) firstWord(ctx context.Context, r *Request, wait time.Duration) (final *Response, silent bool, _ error) {
	until := time.Now().Add(wait)
	for range maxInterim {
		switch arrived, err := c.await(ctx, until); {
		case err != nil:
			return nil, false, err
		case !arrived:
			return nil, true, nil
		}
		response, err := c.readOne(r)
		if err != nil || response.Status >= 200 {
			return response, false, err
		}
		if response.Status == http.StatusContinue {
			return nil, false, nil
		}
	}
	return nil, false, tooManyInterim()
}

// await blocks until the receiver says something, or the wait is over, or ctx ends; only the last is an error.
func (c *http1) await(ctx context.Context, until time.Time) (arrived bool, _ error) {
	deadline, bounded := ctx.Deadline()
	if bounded && deadline.Before(until) {
		until = deadline
	}
	c.setReadDeadline(ctx, until)
	c.in.left = maxHeader
	_, err := c.br.Peek(1)
	c.setReadDeadline(ctx, deadline) // the zero time is none
	switch {
	case err == nil || !isTimeout(err):
		return true, nil // an end is told by the next read, too
	case ctx.Err() != nil:
		return false, ctx.Err() //nolint:wrapcheck // judged by exchangeFailure
	case bounded && until.Equal(deadline):
		return false, context.DeadlineExceeded // ctx is about to say the same
	default:
		return false, nil
	}
}

// setReadDeadline never undoes what the end of ctx did: either that comes after this, or this sees it.
func (c *http1) setReadDeadline(ctx context.Context, t time.Time) {
	_ = c.secure.SetReadDeadline(t)
	if ctx.Err() != nil {
		_ = c.secure.SetReadDeadline(longAgo)
	}
}
