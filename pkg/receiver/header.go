package receiver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/handfast/handfast/pkg/signature"
)

var (
	errHeaderSize = errors.New("the header is larger than allowed; a webhook needs little")
	errEncoding   = errors.New("the body has a Content-Encoding; send it as it was signed, without one")
	errOverride   = errors.New("a header wants to change the method; send a plain POST")
	errUnderscore = errors.New("a header is written with '_' where '-' belongs; some programs would take it for the real one")
)

// headerSize counts names and values, in bytes, with the four bytes that HTTP/1.1 adds to each line.
func headerSize(header http.Header) int64 {
	var n int64
	for name, values := range header {
		for _, value := range values {
			n += int64(len(name) + len(value) + len(": \r\n"))
		}
	}
	return n
}

// plain tells why the header cannot be trusted to be read in the same way by everybody, and the status to answer with.
func plain(header http.Header) (int, error) {
	for name, values := range header {
		lower := strings.ToLower(name)
		dashed := strings.ReplaceAll(lower, "_", "-")
		switch {
		case dashed != lower && guarded(dashed):
			return http.StatusBadRequest, errUnderscore
		case len(values) > 1 && guarded(lower):
			return http.StatusUnauthorized, fmt.Errorf("%w: a webhook-* header, or another one that a proof is made of, occurs more than once; send it once", signature.ErrMalformed)
		case slices.Contains([]string{"x-http-method-override", "x-http-method", "x-method-override"}, dashed):
			return http.StatusBadRequest, errOverride
		case lower == "content-encoding" && !slices.Equal(values, []string{"identity"}):
			return http.StatusUnsupportedMediaType, errEncoding
		}
	}
	return 0, nil
}

// guarded reports whether a field is one that a proof is made of, or that tells how the body is to be read. Whoever reads
// such a field later must not see another value than we did.
func guarded(name string) bool {
	if strings.HasPrefix(name, "webhook-") || strings.HasPrefix(name, "ce-") || identityField(name) {
		return true
	}
	switch name {
	case "content-type", "content-digest", "content-encoding", "signature", "signature-input":
		return true
	}
	return strings.Contains(name, "signature") || strings.Contains(name, "hmac") || name == "x-slack-request-timestamp"
}
