package signature

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The placeholders of [Template.Content].
const (
	placeID        = "{id}"
	placeTimestamp = "{timestamp}"
	placeBody      = "{body}"
)

// Choices of a [Template].
const (
	AlgorithmSHA256 = "hmac-sha256"
	AlgorithmSHA512 = "hmac-sha512"
	EncodingHex     = "hex"
	EncodingBase64  = "base64"
)

const (
	maxContent      = 256 // characters of Template.Content
	maxTemplateText = 32  // of its prefix and separator
	maxHeaderName   = 64
	idCharacters    = lower + upper + digits + "_-"
	punctuation     = "!#$%&'*+-.^_`|~" // of a token (RFC 9110 section 5.6.2)
)

// Template is a signature header of one's own: an HMAC over the body, and perhaps
// the id and the time of the attempt, in a header field of any name. It is
// configuration on both sides; nothing in a request changes it. The zero value is
// not valid; only Header and Content are needed.
type Template struct {
	// Header is the name of the field with the signature.
	Header string
	// Algorithm is [AlgorithmSHA256], which "" means as well, or [AlgorithmSHA512].
	Algorithm string
	// Encoding is [EncodingHex] (lower case), which "" means as well, or
	// [EncodingBase64] (standard, with padding).
	Encoding string
	// Content is what is signed: text with {body} in it, and {id} and {timestamp}
	// (whole Unix seconds) at most once each, such as "{id}.{timestamp}.{body}".
	Content string
	// Prefix stands in front of each signature, such as "sha256=".
	Prefix string
	// Separator stands between the signatures of several keys. Without one there
	// is room for one signature only; see [Template.OneKey].
	Separator string
	// IDHeader and TimestampHeader carry what {id} and {timestamp} stand for; ""
	// means [HeaderID] and [HeaderTimestamp].
	IDHeader, TimestampHeader string
}

// Scheme returns [TemplateScheme] as this template writes it. The error lists
// everything that is wrong with the template; see [Template.Validate].
func (t Template) Scheme() (Scheme, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return templated{template: t.withDefaults()}, nil
}

// SignsID reports whether the id is signed.
func (t Template) SignsID() bool { return strings.Contains(t.Content, placeID) }

// SignsTime reports whether the time of the attempt is signed.
func (t Template) SignsTime() bool { return strings.Contains(t.Content, placeTimestamp) }

// OneKey reports whether there is room for one signature only; see the function
// [OneKey].
func (t Template) OneKey() bool { return t.Separator == "" }

func (t Template) withDefaults() Template {
	if t.Algorithm == "" {
		t.Algorithm = AlgorithmSHA256
	}
	if t.Encoding == "" {
		t.Encoding = EncodingHex
	}
	if t.IDHeader == "" {
		t.IDHeader = HeaderID
	}
	if t.TimestampHeader == "" {
		t.TimestampHeader = HeaderTimestamp
	}
	return t
}

func (t Template) how() encoding {
	if t.Encoding == EncodingBase64 {
		return base64Text()
	}
	return hexadecimal()
}

// around returns what is signed before and behind the body.
func (t Template) around(id, stamp string) (prefix, suffix []byte) {
	before, after, _ := strings.Cut(t.Content, placeBody)
	fill := func(text string) []byte { // neither has a brace in it
		return []byte(strings.Replace(strings.Replace(text, placeID, id, 1), placeTimestamp, stamp, 1))
	}
	return fill(before), fill(after)
}

// templated is [TemplateScheme].
type templated struct {
	template Template
}

func (templated) Name() string { return TemplateScheme }

// Sign of the scheme that [Lookup] returns fails, because it has no template.
func (s templated) Sign(r Request, keys []Key) ([]Field, error) {
	t := s.template
	if t.Header == "" { // all others were validated
		return nil, fmt.Errorf("scheme %s: %w: no template was given", TemplateScheme, ErrInvalidRequest)
	}
	if err := s.checkRequest(r); err != nil {
		return nil, fmt.Errorf("scheme %s: %w: %w", TemplateScheme, ErrInvalidRequest, err)
	}
	stamp := strconv.FormatInt(r.Time.Unix(), 10)
	prefix, suffix := t.around(r.ID, stamp)
	body := r.Body
	if len(suffix) > 0 {
		body = join(body, suffix)
	}
	signers := keys
	if t.Algorithm == AlgorithmSHA512 {
		signers = widened(keys)
	}
	sign := signAll
	if t.OneKey() {
		sign = func(scheme string, keys []Key, prefix, body []byte, how encoding) ([]string, error) {
			one, err := signOne(scheme, keys, prefix, body, how)
			return []string{one}, err
		}
	}
	written, err := sign(TemplateScheme, signers, prefix, body, t.how())
	if err != nil {
		return nil, err
	}
	fields := []Field{{Name: strings.ToLower(t.Header), Value: t.Prefix + strings.Join(written, t.Separator+t.Prefix)}}
	if t.SignsID() {
		fields = append(fields, Field{Name: strings.ToLower(t.IDHeader), Value: r.ID})
	}
	if t.SignsTime() {
		fields = append(fields, Field{Name: strings.ToLower(t.TimestampHeader), Value: stamp})
	}
	return fields, nil
}

// widened are the keys with HMAC-SHA512 in place of HMAC-SHA256.
func widened(keys []Key) []Key {
	keys = slices.Clone(keys)
	for i := range keys {
		if m := keys[i].material; m != nil && m.wide != nil {
			keys[i].material = m.wide
		}
	}
	return keys
}

func (s templated) checkRequest(r Request) error {
	var problems []error
	if s.template.SignsID() {
		problems = append(problems, checkTemplateID(r.ID))
	}
	if s.template.SignsTime() {
		problems = append(problems, r.validateTime())
	}
	return errors.Join(problems...)
}

// checkTemplateID keeps the id apart from the text around it, whatever that is.
func checkTemplateID(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if strings.Trim(id, idCharacters) != "" {
		return errors.New("its id has other characters than letters, digits, '_' and '-'")
	}
	return nil
}

func verifyTemplate(r Received, keys []Verifier, w window) (Verified, error) {
	if err := r.Template.Validate(); err != nil {
		return Verified{}, fmt.Errorf("%w for scheme %s: %w", ErrNoVerifier, TemplateScheme, err)
	}
	t := r.Template.withDefaults()
	list, err := one(r.Header, t.Header)
	if err != nil {
		return Verified{}, err
	}
	var found Verified
	var stamp string
	if t.SignsID() {
		if found.ID, err = one(r.Header, t.IDHeader); err != nil {
			return Verified{}, err
		}
		if err := checkTemplateID(found.ID); err != nil {
			return Verified{}, fmt.Errorf("%w: %s: %w", ErrMalformed, t.IDHeader, err)
		}
	}
	if t.SignsTime() {
		if stamp, err = one(r.Header, t.TimestampHeader); err != nil {
			return Verified{}, err
		}
		if found.Time, err = parseStamp(t.TimestampHeader, stamp); err != nil {
			return Verified{}, err
		}
		if err := w.check(found.Time); err != nil {
			return Verified{}, err
		}
	}
	separator := t.Separator
	if separator == "" {
		separator = "\n" // stands in no header: the list is one signature
	}
	if err := tooMany(t.Header, strings.Count(list, separator)+1); err != nil {
		return Verified{}, err
	}
	prefix, suffix := t.around(found.ID, stamp)
	body := r.Body
	if len(suffix) > 0 {
		body = join(body, suffix)
	}
	who, err := matchOne(t.own(keys), prefix, body, listed(list, separator, t.Prefix, t.how()))
	if err != nil {
		return Verified{}, err
	}
	found.Scheme, found.KeyID = who.Scheme, who.KeyID
	return found, nil
}

// own makes the keys match by the template's algorithm.
func (t Template) own(keys []Verifier) []Verifier {
	if t.Algorithm != AlgorithmSHA512 {
		return keys
	}
	wide := slices.Clone(keys)
	for i := range wide {
		wide[i].match = wide[i].wide
	}
	return slices.DeleteFunc(wide, func(v Verifier) bool { return !v.Valid() })
}
