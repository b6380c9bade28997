package signature

import (
	"encoding/base64"
	"errors"
	"strings"
)

// Structured fields (RFC 9651), the part that HTTP Message Signatures need: a
// dictionary whose members are inner lists of strings, or byte sequences, each
// with parameters. What is legal and not needed here is read over, so that
// another application's member never spoils ours.

// member is one entry of a dictionary.
type member struct {
	name string
	// list holds the strings of an inner list; ok is false if the value is
	// something else, or if an item is no string or has parameters.
	list []string
	ok   bool
	// bytes is a byte sequence, nil if the value is something else.
	bytes  []byte
	params []param
	// raw is the value as it was written, parameters included. RFC 9421 wants it
	// serialised again; what is written in the one canonical way is the same
	// text, and a sender that writes otherwise is refused by its signature.
	raw string
}

// param is one parameter; its value is an int64, a string, or nil for a type
// that nothing here asks for.
type param struct {
	name  string
	value any
}

func (m member) param(name string) any {
	for _, p := range m.params {
		if p.name == name {
			return p.value
		}
	}
	return nil
}

func (m member) text(name string) string {
	text, _ := m.param(name).(string)
	return text
}

// maxParams is how many parameters one item may have.
const maxParams = 32

var (
	errStructured = errors.New("not a structured field dictionary (RFC 9651)")
	errRepeated   = errors.New("a name occurs twice")
	errMany       = errors.New("too many members or parameters")
)

// parseDictionary reads at most limit members. A name that occurs twice is
// refused, although RFC 9651 lets the last one win: whoever reads the field after
// us must not see another value than we did.
func parseDictionary(text string, limit int) ([]member, error) {
	s := scanner{text: strings.Trim(text, " ")}
	var members []member
	for {
		m, err := s.member()
		if err != nil {
			return nil, err
		}
		for _, earlier := range members {
			if earlier.name == m.name {
				return nil, errRepeated
			}
		}
		if len(members) == limit {
			return nil, errMany
		}
		members = append(members, m)
		s.skip(" \t")
		if s.text == "" {
			return members, nil
		}
		if !s.take(',') {
			return nil, errStructured
		}
		s.skip(" \t")
		if s.text == "" { // a comma at the end
			return nil, errStructured
		}
	}
}

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
