package signature

import (
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
