package signature

import (
	"fmt"
	"strconv"
	"strings"
)

// The header fields of the providers whose schemes sign a time as well.
const (
	headerStripe    = "stripe-signature"
	headerSlack     = "x-slack-signature"
	headerSlackTime = "x-slack-request-timestamp"
)

// stripe has the time and a list of signatures in one field.
type stripe struct{}

func (stripe) Name() string { return Stripe }

func (stripe) Sign(r Request, keys []Key) ([]Field, error) {
	if err := r.validateTime(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	stamp := strconv.FormatInt(r.Time.Unix(), 10)
	written, err := signAll(Stripe, keys, []byte(stamp+"."), r.Body, hexadecimal())
	if err != nil {
		return nil, err
	}
	return []Field{{Name: headerStripe, Value: "t=" + stamp + ",v1=" + strings.Join(written, ",v1=")}}, nil
}

func verifyStripe(r Received, keys []Verifier, w window) (Verified, error) {
	list, err := one(r.Header, headerStripe)
	if err != nil {
		return Verified{}, err
	}
	if err := tooMany(headerStripe, strings.Count(list, ",")); err != nil {
		return Verified{}, err
	}
	stamp := ""
	for value := range strings.SplitSeq(list, ",") {
		if t, ok := strings.CutPrefix(value, "t="); ok {
			if stamp != "" || t == "" {
				return Verified{}, fmt.Errorf("%w: %s has no time, or two", ErrMalformed, headerStripe)
			}
			stamp = t
		}
	}
	return verifyTimed(r, keys, w, timed{
		stamp: stamp, header: headerStripe, prefix: stamp + ".", made: listed(list, ",", "v1=", hexadecimal()),
	})
}

// timed is what a field said: its time, and the signatures over prefix and body.
type timed struct {
	stamp, header, prefix string
	made                  [][]byte
}

func verifyTimed(r Received, keys []Verifier, w window, t timed) (Verified, error) {
	signed, err := parseStamp(t.header, t.stamp)
	if err != nil {
		return Verified{}, err
	}
	if err := w.check(signed); err != nil {
		return Verified{}, err
	}
	v, err := matchOne(keys, []byte(t.prefix), r.Body, t.made)
	if err != nil {
		return Verified{}, err
	}
	v.Time = signed
	return v, nil
}

// slack has one signature and the time in a field of its own.
type slack struct{}

func (slack) Name() string { return Slack }

func (slack) Sign(r Request, keys []Key) ([]Field, error) {
	if err := r.validateTime(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	stamp := strconv.FormatInt(r.Time.Unix(), 10)
	value, err := signOne(Slack, keys, []byte("v0:"+stamp+":"), r.Body, hexadecimal())
	if err != nil {
		return nil, err
	}
	return []Field{{Name: headerSlackTime, Value: stamp}, {Name: headerSlack, Value: "v0=" + value}}, nil
}

func verifySlack(r Received, keys []Verifier, w window) (Verified, error) {
	stamp, err := one(r.Header, headerSlackTime)
	if err != nil {
		return Verified{}, err
	}
	value, err := one(r.Header, headerSlack)
	if err != nil {
		return Verified{}, err
	}
	return verifyTimed(r, keys, w, timed{
		stamp: stamp, header: headerSlackTime, prefix: "v0:" + stamp + ":", made: listed(value, "\n", "v0=", hexadecimal()),
	})
}
