package signature

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Names of the header fields of Standard Webhooks 1.0.0, in lower case as HTTP/2
// sends them.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// MaxIDLength is the longest webhook-id, in bytes, that is signed or accepted.
const MaxIDLength = 256

// Getter reads header fields by name, whatever the case of the name. http.Header
// is one. A Getter that also has Values(name string) []string, as http.Header
// has, lets a verifier see and refuse a doubled field.
type Getter interface {
	// Get returns the first value of the field, or "" if there is none.
	Get(name string) string
}

// Request is what a scheme is shown. v1, v1a and most of the providers' schemes
// look at ID, Time and Body only; the other fields are for schemes that sign the
// request line or header fields.
type Request struct {
	// ID is the webhook-id: 1 to [MaxIDLength] visible ASCII characters without a
	// full stop. It stays the same on every attempt.
	ID string
	// Time is when this attempt is signed. It is sent in whole Unix seconds; the
	// fraction is cut off.
	Time time.Time
	// Method and URL are the request line; the URL is absolute. A request that is
	// signed by [Twilio] has to be sent to a longer one: see [Query].
	Method, URL string
	// Header is the header as it will be sent. The schemes of RFC 9421 sign the
	// Content-Type that they find in it, and [Twilio] looks whether it is a form.
	Header Getter
	// Body is the exact bytes that will be sent.
	Body []byte
}

// Field is one header field that a scheme adds to the request.
type Field struct {
	// Name is the field's name in lower case.
	Name string
	// Value is the field's value.
	Value string
	// Separator says how different values of several schemes stand in one field;
	// "" means that they cannot.
	Separator string
}

func (r Request) validate() error {
	if err := errors.Join(checkID(r.ID), r.validateTime()); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	return nil
}

func (r Request) validateTime() error {
	if r.Time.Unix() <= 0 {
		return errors.New("its time is not set or lies before 1970; give the time of this attempt")
	}
	return nil
}

// checkID keeps "<id>.<timestamp>.<body>" unambiguous: with a full stop in the
// id, a receiver could be made to take a part of the body for the timestamp.
// White space and other bytes that a header does not carry unchanged would
// break the signature on the way.
func checkID(id string) error {
	if id == "" {
		return errors.New("its id is empty; every delivery needs a webhook-id")
	}
	if len(id) > MaxIDLength {
		return fmt.Errorf("its id is %d bytes long; at most %d are allowed", len(id), MaxIDLength)
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c == '.':
			return fmt.Errorf("its id has a full stop at byte %d, which separates the parts of the signed content; use another character", i)
		case c <= ' ' || c >= 0x7f:
			return fmt.Errorf("its id has a byte at %d that is not a visible ASCII character; use letters, digits, '_' and '-'", i)
		}
	}
	return nil
}

// contentPrefix returns "<id>.<timestamp>." and, as a part of the same string so
// that it costs nothing, the timestamp. The id has been checked.
func contentPrefix(id string, unix int64) (prefix, stamp string) {
	var room [MaxIDLength + 24]byte
	b := append(room[:0], id...)
	b = append(b, '.')
	b = strconv.AppendInt(b, unix, 10)
	b = append(b, '.')
	prefix = string(b)
	return prefix, prefix[len(id)+1 : len(prefix)-1]
}
