package signature

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultTolerance is how far a request's timestamp may be from the clock, to
	// either side. It is the window of every official Standard Webhooks library.
	DefaultTolerance = 5 * time.Minute
	// MaxSignatureHeader is the longest webhook-signature header, in bytes, that
	// is looked at.
	MaxSignatureHeader = 16 << 10
	// MaxSignatures is how many signatures a webhook-signature header may list.
	MaxSignatures = 64

	maxStampDigits = 11 // until the year 5138
)

// VerifyStandard checks a received request by Standard Webhooks 1.0.0: the three
// webhook headers, the age of the timestamp against now, and that one of the
// verifiers matches one of the signatures over exactly these body bytes.
// Versions that no verifier has are ignored, which lets senders add new ones.
//
// The tolerance counts to both sides of now; zero or less means
// [DefaultTolerance]. The work is bounded by [MaxSignatureHeader] and
// [MaxSignatures], secrets are compared in constant time, and a field that
// occurs twice is refused where the headers can tell (http.Header can).
//
// It cannot know whether the same request came before: a receiver has to remember
// Verified.ID for longer than the tolerance to refuse replays.
//
// The error wraps [ErrMissingHeader], [ErrMalformed], [ErrTooOld], [ErrTooNew],
// [ErrNoMatch] or [ErrNoVerifier]. It repeats nothing that the sender wrote, so
// it may be shown.
func VerifyStandard(headers Getter, body []byte, verifiers []Verifier, now time.Time, tolerance time.Duration) (Verified, error) {
	if !slices.ContainsFunc(verifiers, Verifier.Valid) {
		return Verified{}, fmt.Errorf("%w: configure the secret or the public key of the sender", ErrNoVerifier)
	}
	id, stamp, list, err := standardHeaders(headers)
	if err != nil {
		return Verified{}, err
	}
	signed, err := parseStamp(HeaderTimestamp, stamp)
	if err != nil {
		return Verified{}, err
	}
	if err := checkAge(signed, now, tolerance); err != nil {
		return Verified{}, err
	}
	entries, err := parseSignatures(list, verifiers)
	if err != nil {
		return Verified{}, err
	}
	text, _ := contentPrefix(id, signed.Unix())
	prefix := []byte(text)
	for _, v := range verifiers {
		if v.Valid() && len(entries[v.scheme]) > 0 && v.match(prefix, body, entries[v.scheme]) {
			return Verified{ID: id, Time: signed, Scheme: v.scheme, KeyID: v.keyID}, nil
		}
	}
	return Verified{}, noMatch(entries)
}

func standardHeaders(headers Getter) (id, stamp, list string, err error) {
	var values [3]string
	for i, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if all, ok := headers.(interface{ Values(name string) []string }); ok && len(all.Values(name)) > 1 {
			return "", "", "", fmt.Errorf("%w: %s occurs more than once; send it once", ErrMalformed, name)
		}
		if values[i] = headers.Get(name); values[i] == "" {
			return "", "", "", fmt.Errorf("%w: %s; the request is not signed by Standard Webhooks, or a proxy removed it", ErrMissingHeader, name)
		}
	}
	if err := checkID(values[0]); err != nil {
		return "", "", "", fmt.Errorf("%w: %s: %w", ErrMalformed, HeaderID, err)
	}
	return values[0], values[1], values[2], nil
}

// parseStamp accepts the one way to write a time only, because some verifiers
// sign the text of the header and others the number that they read from it.
func parseStamp(header, stamp string) (time.Time, error) {
	if stamp != "" && len(stamp) <= maxStampDigits && stamp[0] >= '1' && stamp[0] <= '9' {
		if unix, err := strconv.ParseInt(stamp, 10, 64); err == nil {
			return time.Unix(unix, 0).UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: %s is not a time in whole Unix seconds (digits only, no leading zero)", ErrMalformed, header)
}

func checkAge(signed, now time.Time, tolerance time.Duration) error {
	if tolerance <= 0 {
		tolerance = DefaultTolerance
	}
	switch age := now.Sub(signed); {
	case age > tolerance:
		return fmt.Errorf("%w: signed %s ago, allowed are %s; it is a replay, it was held up, or one of the clocks is wrong", ErrTooOld, age.Round(time.Second), tolerance)
	case age < -tolerance:
		return fmt.Errorf("%w: signed %s from now, allowed are %s; one of the clocks is wrong", ErrTooNew, age.Abs().Round(time.Second), tolerance)
	}
	return nil
}

// parseSignatures returns the decoded signatures by version, those only that a
// verifier could match. An entry that it cannot read matches nothing; it does
// not spoil the others.
func parseSignatures(list string, verifiers []Verifier) (map[string][][]byte, error) {
	if len(list) > MaxSignatureHeader {
		return nil, fmt.Errorf("%w: %s is %d bytes long; at most %d are allowed", ErrMalformed, HeaderSignature, len(list), MaxSignatureHeader)
	}
	if n := strings.Count(list, " ") + 1; n > MaxSignatures {
		return nil, fmt.Errorf("%w: %s lists %d signatures; at most %d are allowed", ErrMalformed, HeaderSignature, n, MaxSignatures)
	}
	entries := make(map[string][][]byte, 2)
	for entry := range strings.SplitSeq(list, " ") {
		version, encoded, ok := strings.Cut(entry, ",")
		if !ok || !slices.ContainsFunc(verifiers, func(v Verifier) bool { return v.Valid() && v.scheme == version }) {
			continue
		}
		if raw, err := base64.StdEncoding.Strict().DecodeString(encoded); err == nil {
			entries[version] = append(entries[version], raw)
		}
	}
	return entries, nil
}

func noMatch(entries map[string][][]byte) error {
	if len(entries) == 0 {
		return fmt.Errorf("%w: no signature of a scheme that this receiver has a key for; compare the schemes on both sides", ErrNoMatch)
	}
	return fmt.Errorf("%w: signed with another key, or the body was changed on the way (verify the bytes as received, before any parser)", ErrNoMatch)
}
