package mtls

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// limitedReader stops a receiver that answers without end. It remembers why it stopped, because the parser of answers
// takes half a line before an error for a whole one.
type limitedReader struct {
	from io.Reader
	left int
	err  error
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		l.err = &protocolError{reason: "the answer, or its header, is longer than it may be"}
		return 0, l.err
	}
	n, err := l.from.Read(p[:min(len(p), l.left)])
	l.left -= n
	l.err = err
	return n, err //nolint:wrapcheck // io.Reader must pass io.EOF through
}

func tooManyInterim() error { return &protocolError{reason: "too many interim responses"} }

// read reads the final answer.
func (c *http1) read(r *Request) (*Response, error) {
	for range maxInterim + 1 {
		response, err := c.readOne(r)
		if err != nil || response.Status >= 200 {
			return response, err
		}
	}
	return nil, tooManyInterim()
}

// readOne reads one answer, interim or final.
func (c *http1) readOne(r *Request) (*Response, error) {
	c.in.left = maxHeader
	if _, err := c.br.Peek(1); err != nil {
		return nil, errors.Join(errNoAnswer, err)
	}
	c.heard = true
	c.ask.Method = r.Method
	raw, err := http.ReadResponse(c.br, &c.ask) //nolint:bodyclose // readBody reads what is worth it; Close would read on
	if err != nil {
		return nil, c.malformed(err)
	}
	switch {
	case raw.StatusCode == http.StatusSwitchingProtocols:
		return nil, &protocolError{reason: "it wants to switch protocols"}
	case raw.StatusCode < 100:
		return nil, &protocolError{reason: "its status is " + strconv.Itoa(raw.StatusCode)}
	case raw.StatusCode < 200:
		return &Response{Status: raw.StatusCode}, nil
	}
	c.in.left = keptBody + drainedBody
	body, whole := readBody(raw)
	c.idle(raw)
	if !whole {
		// The status has been said and counts; only the connection is not worth keeping.
		c.broken = true
	}
	return &Response{Status: raw.StatusCode, Header: raw.Header, Body: body}, nil
}

// readBody keeps the beginning of a body and drains the rest. whole tells that nothing of it is left on the connection.
func readBody(raw *http.Response) (kept []byte, whole bool) {
	switch n := raw.ContentLength; {
	case raw.Body == http.NoBody:
		return nil, true
	case n >= 0 && n <= keptBody:
		kept = make([]byte, n)
		read, err := io.ReadFull(raw.Body, kept)
		return kept[:read], err == nil
	case n > keptBody+drainedBody:
		kept = make([]byte, keptBody)
		read, _ := io.ReadFull(raw.Body, kept)
		return kept[:read], false
	}
	var buffer bytes.Buffer
	_, err := io.CopyN(&buffer, raw.Body, keptBody)
	if err == nil {
		_, err = io.CopyN(io.Discard, raw.Body, drainedBody)
	}
	return buffer.Bytes(), errors.Is(err, io.EOF)
}

// idle decides how long the connection may wait for its next request.
func (c *http1) idle(raw *http.Response) {
	if raw.Close || !raw.ProtoAtLeast(1, 1) || raw.ProtoMajor != 1 {
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
		return time.Duration(n) * time.Second, err == nil
	}
	return 0, false
}

func (c *http1) malformed(err error) error {
	if c.in.err != nil {
		err = c.in.err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if isTimeout(err) || isCut(err) || remoteAlert(err) != "" {
		return err
	}
	if _, ok := errors.AsType[*protocolError](err); ok {
		return err
	}
	return &protocolError{reason: "malformed answer"}
}
