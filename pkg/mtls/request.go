package mtls

import (
	"fmt"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// RequestError says that a request cannot be written as HTTP; it is not the receiver's fault and never will succeed.
type RequestError struct{ Reason string }

// Error is the reason.
func (e *RequestError) Error() string { return "the request is not valid HTTP: " + e.Reason }

func (r *Request) check() error {
	if !httpguts.ValidHeaderFieldName(r.Method) {
		return &RequestError{Reason: fmt.Sprintf("method %q", r.Method)}
	}
	if !strings.HasPrefix(r.Path, "/") || strings.ContainsFunc(r.Path, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		// Not told: a webhook's path often is its secret.
		return &RequestError{Reason: "the path does not begin with a slash, or holds a space or a control character"}
	}
	if r.Host == "" || !httpguts.ValidHostHeader(r.Host) {
		return &RequestError{Reason: fmt.Sprintf("host %q", r.Host)}
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return &RequestError{Reason: fmt.Sprintf("header name %q", name)}
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return &RequestError{Reason: fmt.Sprintf("value of header %q", name)}
			}
		}
	}
	return nil
}
