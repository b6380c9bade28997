package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Names of the header fields of HTTP Message Signatures (RFC 9421 section 4).
const (
	HeaderMessageInput     = "signature-input"
	HeaderMessageSignature = "signature"
)

// MessageTag is the tag of every signature that the RFC 9421 schemes make and
// accept: a signature that was made for another application is not looked at
// (RFC 9421 section 7.2.7).
const MessageTag = "webhook"

// What is set aside for a signature base, its parameters, and a label with what
// stands around it, in bytes. More is possible and costs an allocation.
const (
	baseSize   = 512
	paramsSize = 256
	labelSize  = 16
)

// messageScheme is HTTP Message Signatures in a profile for webhooks. The body
// enters by its digest, so that what is signed stays small enough for any key
// service, however large the body is.
type messageScheme struct {
	name string
}

func (s messageScheme) Name() string { return s.name }

func (s messageScheme) keys() keyForm {
	if s.name == HTTPHMAC {
		return messageSecret{}
	}
	return messagePair{scheme: s.name}
}

// algorithm is the name in the registry of RFC 9421 section 6.2.2. It is never
// sent: the key decides.
func (s messageScheme) algorithm() string { return strings.TrimPrefix(s.name, "rfc9421-") }

// label names the n-th signature in the two dictionaries. Labels mean nothing and
// differ only so that several schemes and keys can stand side by side.
func (s messageScheme) label(n int) string {
	label, _, _ := strings.Cut(s.algorithm(), "-")
	if n > 0 {
		label += "-" + strconv.Itoa(n+1)
	}
	return label
}

// message is what the parts of a signature base are taken from.
type message struct {
	method    string
	authority string
	// target is the path and the query as on the request line.
	target string
	// field returns the value of a header field, "" if there is none.
	field func(name string) (string, error)
}

// Sign adds content-digest, webhook-id, signature-input and signature.
func (s messageScheme) Sign(r Request, keys []Key) ([]Field, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("scheme %s: %w", s.name, ErrNoActiveKey)
	}
	u, err := requestURL(r)
	if err != nil {
		return nil, fmt.Errorf("scheme %s: %w: %w", s.name, ErrInvalidRequest, err)
	}
	digest := contentDigest(r.Body)
	m := message{method: r.Method, authority: u.Host, target: u.RequestURI(), field: func(name string) (string, error) {
		switch {
		case name == HeaderDigest:
			return digest, nil
		case name == HeaderID:
			return r.ID, nil
		case r.Header == nil:
			return "", nil
		}
		return atMostOne(r.Header, name)
	}}
	components, err := m.profile()
	if err != nil {
		return nil, fmt.Errorf("scheme %s: %w: %w", s.name, ErrInvalidRequest, err)
	}
	base, err := m.base(make([]byte, 0, baseSize+paramsSize), components)
	if err != nil {
		return nil, fmt.Errorf("scheme %s: %w: %w", s.name, ErrInvalidRequest, err)
	}
	input := make([]byte, 0, (paramsSize+labelSize)*len(keys))
	value := make([]byte, 0, (base64.StdEncoding.EncodedLen(maxSignatureSize)+labelSize)*len(keys))
	raw := make([]byte, 0, maxSignatureSize)
	for i := range keys {
		key := &keys[i]
		if err := key.usable(s.name); err != nil {
			return nil, err
		}
		params := messageParams(components, r.Time.Unix(), key.ID)
		signed, err := key.material.sign(raw, append(base, params...), nil) // each key's params overwrite the last one's
		if err != nil {
			return nil, fmt.Errorf("scheme %s: sign with key %q: %w", s.name, key.ID, err)
		}
		if i > 0 {
			input, value = append(input, ", "...), append(value, ", "...)
		}
		label := s.label(i)
		input = append(append(append(input, label...), '='), params...)
		value = append(append(value, label...), "=:"...)
		value = append(base64.StdEncoding.AppendEncode(value, signed), ':')
	}
	return []Field{
		{Name: HeaderDigest, Value: digest},
		{Name: HeaderID, Value: r.ID},
		{Name: HeaderMessageInput, Value: string(input), Separator: ", "},
		{Name: HeaderMessageSignature, Value: string(value), Separator: ", "},
	}, nil
}

// requestURL returns the URL, if a request can be sent to it as it is signed. A
// receiver takes https for granted, because a proxy in front of it may hide it.
func requestURL(r Request) (*url.URL, error) {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("its URL is missing or not absolute, and this scheme signs it")
	case u.Scheme != "https":
		return nil, errors.New("its URL is not https")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("its URL has a user name or a fragment, which are not a part of a request")
	}
	return u, nil
}

// profile is the components that have to be signed. The Content-Type is one
// whenever there is one, so that nobody can make a receiver parse the body as
// something else. The error says that it occurs twice.
func (m message) profile() ([]string, error) {
	components := make([]string, 0, 7)
	components = append(components, "@method", "@authority", "@path", "@query")
	value, err := m.field("content-type")
	if err != nil {
		return nil, err
	}
	if value != "" {
		components = append(components, "content-type")
	}
	return append(components, HeaderDigest, HeaderID), nil
}

// messageParams writes the value of @signature-params.
func messageParams(components []string, created int64, keyID string) []byte {
	out := append(make([]byte, 0, paramsSize), '(')
	for i, name := range components {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(append(append(out, '"'), name...), '"')
	}
	out = strconv.AppendInt(append(out, ");created="...), created, 10)
	out = strconv.AppendInt(append(out, ";expires="...), created+int64(DefaultTolerance/time.Second), 10)
	out = append(append(out, `;keyid="`...), keyID...) // letters, digits, '_' and '-': nothing to escape
	return append(out, `";tag="`+MessageTag+`"`...)
}

// base writes the lines of the signature base (RFC 9421 section 2.5) up to and
// with the name of the last one, "@signature-params".
func (m message) base(dst []byte, components []string) ([]byte, error) {
	for _, name := range components {
		value, err := m.component(name)
		if err != nil {
			return nil, err
		}
		for i := range len(value) {
			if c := value[i]; c < ' ' && c != '\t' || c >= 0x7f {
				return nil, fmt.Errorf("the value of %s has a byte at %d that is not visible ASCII", name, i)
			}
		}
		dst = append(append(append(dst, '"'), name...), `": `...)
		dst = append(append(dst, strings.Trim(value, " \t")...), '\n')
	}
	return append(dst, `"@signature-params": `...), nil
}

// component is the value of one component without parameters (RFC 9421 section 2).
func (m message) component(name string) (string, error) {
	path, query, _ := strings.Cut(m.target, "?")
	switch name {
	case "@method":
		if m.method == "" {
			return "", errors.New("its method is missing, and this scheme signs it")
		}
		return m.method, nil
	case "@authority":
		return normalAuthority(m.authority), nil
	case "@path":
		return "/" + strings.TrimPrefix(path, "/"), nil
	case "@query":
		return "?" + query, nil
	case "@target-uri":
		return "https://" + normalAuthority(m.authority) + m.target, nil
	case "@request-target":
		return m.target, nil
	case "@scheme":
		return "https", nil
	}
	if strings.HasPrefix(name, "@") || name != strings.ToLower(name) {
		return "", fmt.Errorf("the component %.40q is not one that this profile knows", name)
	}
	value, err := m.field(name)
	if err == nil && value == "" {
		err = fmt.Errorf("the header field %.40q is signed, but is not there", name)
	}
	return value, err
}

// normalAuthority is lower case and without the port of https, which every
// endpoint has (RFC 9421 section 2.2.3).
func normalAuthority(authority string) string {
	return strings.TrimSuffix(strings.ToLower(authority), ":443")
}
