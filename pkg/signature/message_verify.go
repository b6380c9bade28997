package signature

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// candidate is one signature of our tag, ready to be matched.
type candidate struct {
	base      []byte
	signature []byte
	keyID     string
	created   time.Time
}

// maxComponents bounds what one signature may cover.
const maxComponents = 64

// errOther means that a signature is not for us, or not by this algorithm.
var errOther = errors.New("not a signature of this scheme")

// verify accepts the first signature whose tag is [MessageTag], that covers at
// least the components of the profile (or @target-uri in place of authority,
// path and query), is fresh, and was made with one of the keys. Others are read
// over, so that a sender can add some.
func (s messageScheme) verify(r Received, keys []Verifier, w window) (Verified, error) {
	id, inputs, signatures, err := messageFields(r)
	if err != nil {
		return Verified{}, err
	}
	m := message{method: r.Method, authority: r.Authority, target: r.Target, field: func(name string) (string, error) { return atMostOne(r.Header, name) }}
	wanted, err := m.profile()
	if err != nil {
		return Verified{}, err
	}
	var reason error
	for _, input := range inputs {
		if input.text("tag") != MessageTag {
			continue
		}
		c, err := s.candidate(m, wanted, input, signatures, w)
		if err != nil {
			if !errors.Is(err, errOther) || reason == nil {
				reason = err
			}
			continue
		}
		if v, ok := c.match(keys); ok {
			return Verified{ID: id, Time: c.created, Scheme: s.name, KeyID: v.keyID}, nil
		}
		reason = fmt.Errorf("%w: signed with another key, or the request was changed on the way (method, authority, path, query, type, body or id; a proxy?)", ErrNoMatch)
	}
	switch {
	case reason == nil:
		return Verified{}, fmt.Errorf("%w: no signature with tag=%q in %s", ErrNoMatch, MessageTag, HeaderMessageInput)
	case errors.Is(reason, errOther):
		return Verified{}, fmt.Errorf("%w: %w", ErrNoMatch, reason)
	}
	return Verified{}, reason
}

// messageFields reads what every signature needs, and holds the body against its
// digest before anything is believed.
func messageFields(r Received) (id string, inputs, signatures []member, err error) {
	if id, err = one(r.Header, HeaderID); err != nil {
		return "", nil, nil, err
	}
	if err := checkID(id); err != nil {
		return "", nil, nil, fmt.Errorf("%w: %s: %w", ErrMalformed, HeaderID, err)
	}
	input, err := one(r.Header, HeaderMessageInput)
	if err != nil {
		return "", nil, nil, err
	}
	value, err := one(r.Header, HeaderMessageSignature)
	if err != nil {
		return "", nil, nil, err
	}
	if inputs, err = parseDictionary(input, MaxSignatures); err != nil {
		return "", nil, nil, fmt.Errorf("%w: %s: %w", ErrMalformed, HeaderMessageInput, err)
	}
	if signatures, err = parseDictionary(value, MaxSignatures); err != nil {
		return "", nil, nil, fmt.Errorf("%w: %s: %w", ErrMalformed, HeaderMessageSignature, err)
	}
	digest, err := one(r.Header, HeaderDigest)
	if err != nil {
		return "", nil, nil, err
	}
	return id, inputs, signatures, checkDigest(digest, r.Body)
}

func (s messageScheme) candidate(m message, wanted []string, input member, signatures []member, w window) (candidate, error) {
	at := slices.IndexFunc(signatures, func(other member) bool { return other.name == input.name })
	if !input.ok || at < 0 || signatures[at].bytes == nil {
		return candidate{}, fmt.Errorf("%w: an entry in %s without its list of plain components, or without its signature", errOther, HeaderMessageInput)
	}
	if alg := input.param("alg"); alg != nil && alg != s.algorithm() {
		return candidate{}, fmt.Errorf("%w: it claims another algorithm than %s", errOther, s.algorithm())
	}
	if err := covers(wanted, input.list); err != nil {
		return candidate{}, err
	}
	created, ok := input.param("created").(int64)
	if !ok || created <= 0 {
		return candidate{}, fmt.Errorf("%w: a signature with tag=%q says no time at which it was created", ErrMalformed, MessageTag)
	}
	signed := time.Unix(created, 0).UTC()
	if err := w.check(signed); err != nil {
		return candidate{}, err
	}
	if expires := input.param("expires"); expires != nil {
		end, ok := expires.(int64)
		if !ok || end < created {
			return candidate{}, fmt.Errorf("%w: expires is no time, or lies before created", ErrMalformed)
		}
		if w.now.After(time.Unix(end, 0)) {
			return candidate{}, fmt.Errorf("%w: the sender let the signature end %s ago", ErrTooOld, w.now.Sub(time.Unix(end, 0)).Round(time.Second))
		}
	}
	base, err := m.base(nil, input.list)
	if err != nil {
		return candidate{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return candidate{base: append(base, input.raw...), signature: signatures[at].bytes, keyID: input.text("keyid"), created: signed}, nil
}

// covers refuses a signature that leaves something open which an attacker could
// then change.
func covers(wanted, list []string) error {
	if len(list) > maxComponents {
		return fmt.Errorf("%w: a signature covers %d components; at most %d are allowed", ErrMalformed, len(list), maxComponents)
	}
	for i, name := range list {
		if slices.Contains(list[:i], name) {
			return fmt.Errorf("%w: a component is named twice in %s", ErrMalformed, HeaderMessageInput)
		}
	}
	whole := slices.Contains(list, "@target-uri")
	for _, name := range wanted {
		if whole && (name == "@authority" || name == "@path" || name == "@query") {
			continue
		}
		if !slices.Contains(list, name) {
			return fmt.Errorf("%w: the signature does not cover %s; a sender of webhooks has to sign it", ErrNoMatch, name)
		}
	}
	return nil
}

// match asks the keys that the sender names, or every key where it names one that
// we know by another id. The name only narrows the choice: it is no proof.
func (c candidate) match(keys []Verifier) (Verifier, bool) {
	made := [][]byte{c.signature}
	named := func(v Verifier) bool { return v.keyID == c.keyID }
	known := slices.ContainsFunc(keys, named)
	for _, v := range keys {
		if (!known || named(v)) && v.match(c.base, nil, made) {
			return v, true
		}
	}
	return Verifier{}, false
}
