package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

const (
	// maxDepth is how deep schemas and checked data may be nested.
	maxDepth = 64
	// maxNumber is how many characters a number may have, and maxExponent how large its exponent may be: numbers are
	// compared exactly, and 1e999999999 written out fills the memory.
	maxNumber   = 100
	maxExponent = 400
)

// decode reads one JSON value (RFC 8259) into maps, slices, strings, json.Number, bools and nil. Unlike encoding/json it
// refuses a name that stands twice, and numbers that nobody can compute with. It collects what is wrong; after a mistake
// in the syntax there is nothing more to say.
func decode(text []byte, root string) (any, []Problem) {
	if !utf8.Valid(text) {
		return nil, []Problem{{root, "is not UTF-8"}}
	}
	d := decoder{text: text, root: root}
	d.space()
	value, ok := d.value()
	if ok {
		d.space()
		if d.at < len(text) {
			ok = d.fail("has more behind its end")
		}
	}
	if !ok {
		return nil, d.problems
	}
	return value, d.problems
}

type decoder struct {
	text     []byte
	at       int
	root     string
	path     []string
	problems []Problem
}

func (d *decoder) fail(what string) bool {
	before := d.text[:min(d.at, len(d.text))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	d.problems = append(d.problems, Problem{d.root, fmt.Sprintf("is not valid JSON: %s at line %d, column %d", what, line, column)})
	return false
}

func (d *decoder) report(what string) {
	if len(d.problems) < MaxProblems {
		d.problems = append(d.problems, Problem{pointer(d.root, d.path), what})
	}
}

func (d *decoder) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

func (d *decoder) next() byte {
	if d.at < len(d.text) {
		return d.text[d.at]
	}
	return 0
}

func (d *decoder) value() (any, bool) {
	switch c := d.next(); {
	case c == '{':
		return d.object()
	case c == '[':
		return d.array()
	case c == '"':
		return d.str()
	case c == 't':
		return true, d.literal("true")
	case c == 'f':
		return false, d.literal("false")
	case c == 'n':
		return nil, d.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		return d.number()
	case d.at >= len(d.text):
		return nil, d.fail("it ends where a value should stand")
	default:
		return nil, d.fail(fmt.Sprintf("%q stands where a value should", c))
	}
}

func (d *decoder) literal(word string) bool {
	if len(d.text)-d.at < len(word) || string(d.text[d.at:d.at+len(word)]) != word {
		return d.fail("a word that is neither true, false nor null")
	}
	d.at += len(word)
	return true
}

func (d *decoder) deep() bool {
	if len(d.path) >= maxDepth {
		d.report(fmt.Sprintf("is nested more than %d levels deep", maxDepth))
		return true
	}
	return false
}

func (d *decoder) object() (any, bool) {
	if d.deep() {
		return nil, false
	}
	object := make(map[string]any)
	d.at++
	d.space()
	if d.next() == '}' {
		d.at++
		return object, true
	}
	for {
		if d.next() != '"' {
			return nil, d.fail("the name of a member is missing")
		}
		name, ok := d.str()
		if !ok {
			return nil, false
		}
		d.space()
		if d.next() != ':' {
			return nil, d.fail("a colon is missing")
		}
		d.at++
		d.space()
		d.path = append(d.path, name)
		value, ok := d.value()
		if !ok {
			return nil, false
		}
		if _, twice := object[name]; twice {
			d.report("stands there twice; keep one of them")
		}
		d.path = d.path[:len(d.path)-1]
		object[name] = value
		more, ok := d.more('}')
		if !more {
			return object, ok
		}
	}
}

// more goes behind a comma, or behind the end.
func (d *decoder) more(end byte) (more, ok bool) {
	d.space()
	switch d.next() {
	case ',':
		d.at++
		d.space()
		return true, true
	case end:
		d.at++
		return false, true
	}
	return false, d.fail("a comma or the end of a list or object is missing")
}

func (d *decoder) array() (any, bool) {
	if d.deep() {
		return nil, false
	}
	array := []any{}
	d.at++
	d.space()
	if d.next() == ']' {
		d.at++
		return array, true
	}
	d.path = append(d.path, "")
	for {
		d.path[len(d.path)-1] = strconv.Itoa(len(array))
		value, ok := d.value()
		if !ok {
			return nil, false
		}
		array = append(array, value)
		more, ok := d.more(']')
		if !more {
			d.path = d.path[:len(d.path)-1]
			return array, ok
		}
	}
}

func (d *decoder) str() (string, bool) {
	start := d.at
	escaped := false
	for d.at++; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '\\':
			escaped = true
			d.at++
		case c < ' ':
			return "", d.fail("a control character in a text")
		case c == '"':
			d.at++
			if !escaped {
				return string(d.text[start+1 : d.at-1]), true
			}
			var text string
			if err := json.Unmarshal(d.text[start:d.at], &text); err != nil {
				return "", d.fail("a broken escape in a text")
			}
			return text, true
		}
	}
	return "", d.fail("a text does not end")
}

func (d *decoder) digits() bool {
	start := d.at
	for c := d.next(); '0' <= c && c <= '9'; c = d.next() {
		d.at++
	}
	return d.at > start
}

func (d *decoder) number() (any, bool) {
	start := d.at
	if d.next() == '-' {
		d.at++
	}
	if d.next() == '0' {
		d.at++
	} else if !d.digits() {
		return nil, d.fail("a number without digits")
	}
	if d.next() == '.' {
		d.at++
		if !d.digits() {
			return nil, d.fail("a number without digits behind its point")
		}
	}
	exponent := 0
	if c := d.next(); c == 'e' || c == 'E' {
		d.at++
		if c := d.next(); c == '+' || c == '-' {
			d.at++
		}
		from := d.at
		if !d.digits() {
			return nil, d.fail("a number without digits in its exponent")
		}
		if n, err := strconv.Atoi(string(d.text[from:d.at])); err != nil || n > maxExponent {
			exponent = maxExponent + 1
		}
	}
	if exponent > maxExponent || d.at-start > maxNumber {
		d.report(fmt.Sprintf("is a number that cannot be checked; use at most %d characters and an exponent of at most %d", maxNumber, maxExponent))
		return json.Number("0"), true
	}
	return json.Number(d.text[start:d.at]), true
}
