package signature

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

// Received is a request as it arrived, for [Verify].
type Received struct {
	// Method is the method of the request line.
	Method string
	// Authority is the host, and the port if one was given: the Host field of
	// HTTP/1.1, ":authority" of HTTP/2 (http.Request.Host). Behind a proxy that
	// changes it, give the one that the sender was told.
	Authority string
	// Target is the path and the query exactly as they arrived
	// (http.Request.RequestURI), never decoded and put together again. Behind a
	// proxy that changes it, give the one that the sender was told.
	Target string
	// Header is the header. Use one that has Values(name string) []string, as
	// http.Header has, so that a doubled field is seen and refused.
	Header Getter
	// Body is the bytes as they arrived, before any parser.
	Body []byte
	// Template says how [TemplateScheme] is written; other schemes ignore it.
	Template Template
}

// Verified is what a receiver may believe about a request.
type Verified struct {
	// ID is the id that was signed, the same on every attempt of one delivery. It
	// is "" where the scheme signs none; see [SignsID]. An id that stands in a
	// header beside such a signature proves nothing.
	ID string
	// Time is when this attempt was signed, in whole seconds, and zero where the
	// scheme signs no time; see [SignsTime].
	Time time.Time
	// Content is the digest of what was signed where that can be the same for
	// different bodies (a form of Twilio's), and zero elsewhere: the body is no
	// name of such a delivery, its content is.
	Content [sha256.Size]byte
	// Scheme and KeyID name the verifier that matched.
	Scheme, KeyID string
}

// window is the time within which a request has to be signed.
type window struct {
	now       time.Time
	tolerance time.Duration
}

func (w window) check(signed time.Time) error { return checkAge(signed, w.now, w.tolerance) }

// Verify checks a received request by one scheme: that one of the keys of this
// scheme made one of the signatures over exactly this request, and, where the
// scheme signs a time, that it is within the tolerance to either side of now
// (zero or less means [DefaultTolerance]). Keys of other schemes are not looked
// at, and nothing in the request chooses the algorithm: the key does.
//
// The work is bounded: headers of at most [MaxSignatureHeader] bytes with at
// most [MaxSignatures] signatures are looked at, a doubled field is refused, and
// secrets are compared in constant time.
//
// It cannot know whether the same request came before: where Verified.ID is set,
// remember it for longer than the tolerance to refuse replays. Where it is empty,
// the scheme gives nothing by which a retry could be told from a replay. Do not
// remember the signature's bytes instead: whoever sees an ECDSA signature can
// write it in a second way.
//
// The error wraps [ErrUnknownScheme], [ErrNoVerifier], [ErrMissingHeader],
// [ErrMalformed], [ErrTooOld], [ErrTooNew] or [ErrNoMatch]. It repeats nothing
// that the sender wrote, so it may be shown.
func Verify(scheme string, r Received, keys []Verifier, now time.Time, tolerance time.Duration) (Verified, error) {
	s, err := lookup(scheme)
	if err != nil {
		return Verified{}, err
	}
	own := slices.DeleteFunc(slices.Clone(keys), func(v Verifier) bool { return !v.Valid() || v.scheme != scheme })
	if len(own) == 0 {
		return Verified{}, fmt.Errorf("%w for scheme %s: configure the secret or the public key of the sender", ErrNoVerifier, scheme)
	}
	if r.Header == nil {
		return Verified{}, fmt.Errorf("%w: the request has no header", ErrMissingHeader)
	}
	return s.check(r, own, window{now: now, tolerance: tolerance})
}

func verifyStandard(r Received, keys []Verifier, w window) (Verified, error) {
	return VerifyStandard(r.Header, r.Body, keys, w.now, w.tolerance)
}

// one returns the only value of a field.
func one(headers Getter, name string) (string, error) {
	value, err := atMostOne(headers, name)
	if err == nil && value == "" {
		err = fmt.Errorf("%w: %s; the request is not signed by this scheme, or a proxy removed it", ErrMissingHeader, name)
	}
	return value, err
}

// atMostOne is one for a field that may be absent, which gives "".
func atMostOne(headers Getter, name string) (string, error) {
	if all, ok := headers.(interface{ Values(name string) []string }); ok && len(all.Values(name)) > 1 {
		return "", fmt.Errorf("%w: %s occurs more than once; send it once", ErrMalformed, name)
	}
	value := headers.Get(name)
	if len(value) > MaxSignatureHeader {
		return "", fmt.Errorf("%w: %s is %d bytes long; at most %d are allowed", ErrMalformed, name, len(value), MaxSignatureHeader)
	}
	return value, nil
}

// tooMany bounds the number of signatures of one request.
func tooMany(name string, n int) error {
	if n > MaxSignatures {
		return fmt.Errorf("%w: %s lists %d signatures; at most %d are allowed", ErrMalformed, name, n, MaxSignatures)
	}
	return nil
}

// matchOne asks each key about the signatures and names the one that made one.
func matchOne(keys []Verifier, prefix, body []byte, signatures [][]byte) (Verified, error) {
	if len(signatures) == 0 {
		return Verified{}, noMatch(nil)
	}
	for i := range keys {
		if keys[i].match(prefix, body, signatures) {
			return Verified{Scheme: keys[i].scheme, KeyID: keys[i].keyID}, nil
		}
	}
	return Verified{}, fmt.Errorf("%w: signed with another key, or the request was changed on the way (verify the bytes as received, before any parser)", ErrNoMatch)
}
