package signature

import (
	"encoding/base64"
	"strings"
)

// scanner reads a structured field from its front.
type scanner struct {
	text string
}

func (s *scanner) take(c byte) bool {
	if s.text == "" || s.text[0] != c {
		return false
	}
	s.text = s.text[1:]
	return true
}

func (s *scanner) skip(cutset string) { s.text = strings.TrimLeft(s.text, cutset) }

// while returns the characters in front that are in the set.
func (s *scanner) while(set string) string {
	rest := strings.TrimLeft(s.text, set)
	taken := s.text[:len(s.text)-len(rest)]
	s.text = rest
	return taken
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

func (s *scanner) key() (string, error) {
	if s.text == "" || (s.text[0] != '*' && strings.IndexByte(lower, s.text[0]) < 0) {
		return "", errStructured
	}
	return s.while(lower + digits + "_-.*"), nil
}

func (s *scanner) member() (m member, err error) {
	if m.name, err = s.key(); err != nil {
		return m, err
	}
	if !s.take('=') { // a name alone stands for true
		m.params, err = s.params()
		return m, err
	}
	written := s.text
	if s.take('(') {
		m.list, m.ok, err = s.list()
	} else {
		var value any
		value, err = s.item()
		m.bytes, _ = value.([]byte)
	}
	if err != nil {
		return m, err
	}
	m.params, err = s.params()
	m.raw = written[:len(written)-len(s.text)]
	return m, err
}

// list reads an inner list behind its opening parenthesis.
func (s *scanner) list() (items []string, ok bool, err error) {
	ok = true
	for {
		s.skip(" ")
		if s.take(')') {
			return items, ok, nil
		}
		value, err := s.item()
		if err != nil {
			return nil, false, err
		}
		params, err := s.params()
		if err != nil {
			return nil, false, err
		}
		if s.text == "" || (s.text[0] != ' ' && s.text[0] != ')') {
			return nil, false, errStructured
		}
		text, isText := value.(string)
		ok = ok && isText && len(params) == 0
		items = append(items, text)
	}
}

// params reads parameters. A name that occurs twice is refused, as in
// parseDictionary.
func (s *scanner) params() (params []param, err error) {
	for s.take(';') {
		s.skip(" ")
		var p param
		if p.name, err = s.key(); err != nil {
			return nil, err
		}
		for _, earlier := range params {
			if earlier.name == p.name {
				return nil, errRepeated
			}
		}
		if s.take('=') {
			if p.value, err = s.item(); err != nil {
				return nil, err
			}
		} else {
			p.value = true
		}
		if len(params) == maxParams {
			return nil, errMany
		}
		params = append(params, p)
	}
	return params, nil
}

// item reads a bare item: an int64, a string, []byte, or something else that is
// read over.
func (s *scanner) item() (any, error) {
	if s.text == "" {
		return nil, errStructured
	}
	switch c := s.text[0]; {
	case c == '"':
		return s.quoted()
	case c == ':':
		return s.byteSequence()
	case c == '-' || (c >= '0' && c <= '9'):
		return s.number()
	case c == '?':
		if len(s.text) < 2 || (s.text[1] != '0' && s.text[1] != '1') {
			return nil, errStructured
		}
		value := s.text[1] == '1'
		s.text = s.text[2:]
		return value, nil
	case c == '@':
		s.text = s.text[1:]
		if _, err := s.number(); err != nil {
			return nil, err
		}
		return token(""), nil
	case strings.IndexByte(lower+upper+"*", c) >= 0:
		return token(s.while(lower + upper + digits + "!#$%&'*+-.^_`|~:/")), nil
	}
	return nil, errStructured
}

// token tells what is no string although it is text.
type token string

func (s *scanner) quoted() (string, error) {
	text := s.text[1:]
	var out []byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			s.text = text[i+1:]
			return string(out), nil
		case c == '\\':
			i++
			if i == len(text) || (text[i] != '"' && text[i] != '\\') {
				return "", errStructured
			}
			out = append(out, text[i])
		case c < ' ' || c > '~':
			return "", errStructured
		default:
			out = append(out, c)
		}
	}
	return "", errStructured
}

func (s *scanner) byteSequence() ([]byte, error) {
	encoded, rest, ok := strings.Cut(s.text[1:], ":")
	if !ok {
		return nil, errStructured
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return nil, errStructured
	}
	s.text = rest
	return raw, nil
}

// number reads an integer of at most 15 digits as int64 and a decimal as a token.
func (s *scanner) number() (any, error) {
	negative := s.take('-')
	whole := s.while(digits)
	if whole == "" || len(whole) > 15 {
		return nil, errStructured
	}
	if s.take('.') {
		fraction := s.while(digits)
		if fraction == "" || len(fraction) > 3 || len(whole) > 12 {
			return nil, errStructured
		}
		return token(""), nil
	}
	var n int64
	for i := range len(whole) {
		n = n*10 + int64(whole[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, nil
}
