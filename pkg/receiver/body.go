package receiver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
)

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

// withBody gives the request a body that reads the verified bytes. r is a copy
// already.
func withBody(r *http.Request, body []byte) *http.Request {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	r.Trailer = nil // nobody signed it
	return r
}
