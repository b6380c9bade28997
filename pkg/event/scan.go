package event

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of JSON, and so the stack of the scanner and of
// every receiver's parser.
const maxDepth = 512

// syntaxError is where and how a text is no JSON.
type syntaxError struct {
	offset int // in bytes
	what   string
}

// Error says what was found and where.
func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.offset) }

func syntax(offset int, what string) *syntaxError { return &syntaxError{offset, what} }

func syntaxAt(text []byte, i int, wanted string) *syntaxError {
	if i >= len(text) {
		return syntax(len(text), "ends too early, "+wanted+" is missing")
	}
	return syntax(i, fmt.Sprintf("has %q where %s should stand", text[i], wanted))
}

// checkJSON reports why text is not exactly one JSON value of RFC 8259, or nil.
// It exists beside encoding/json because the broker's consumer calls it for
// every event, and because it finds the ends of members without copying them.
func checkJSON(text []byte) *syntaxError {
	end, err := scanValue(text, skipSpace(text, 0), 0)
	if err != nil {
		return err
	}
	if end = skipSpace(text, end); end != len(text) {
		return syntaxAt(text, end, "the end")
	}
	return nil
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// scanValue returns the offset behind the value that starts at i.
func scanValue(text []byte, i, depth int) (int, *syntaxError) {
	if i >= len(text) {
		return 0, syntaxAt(text, i, "a value")
	}
	switch text[i] {
	case '"':
		return scanString(text, i)
	case '{':
		return scanObject(text, i, depth+1)
	case '[':
		return scanArray(text, i, depth+1)
	case 't':
		return scanLiteral(text, i, "true")
	case 'f':
		return scanLiteral(text, i, "false")
	case 'n':
		return scanLiteral(text, i, "null")
	default:
		return scanNumber(text, i)
	}
}

func scanObject(text []byte, i, depth int) (int, *syntaxError) {
	if depth > maxDepth {
		return 0, syntax(i, fmt.Sprintf("is nested more than %d levels deep", maxDepth))
	}
	i = skipSpace(text, i+1)
	if i < len(text) && text[i] == '}' {
		return i + 1, nil
	}
	for {
		_, start, err := scanName(text, i)
		if err != nil {
			return 0, err
		}
		end, err := scanValue(text, start, depth)
		if err != nil {
			return 0, err
		}
		i = skipSpace(text, end)
		switch {
		case i < len(text) && text[i] == ',':
			i = skipSpace(text, i+1)
		case i < len(text) && text[i] == '}':
			return i + 1, nil
		default:
			return 0, syntaxAt(text, i, `"," or "}"`)
		}
	}
}

// scanName reads a member's name and colon at i. It returns the name with its
// quotes and the offset of the member's value.
func scanName(text []byte, i int) (name []byte, value int, _ *syntaxError) {
	if i >= len(text) || text[i] != '"' {
		return nil, 0, syntaxAt(text, i, "a name in double quotes")
	}
	end, err := scanString(text, i)
	if err != nil {
		return nil, 0, err
	}
	colon := skipSpace(text, end)
	if colon >= len(text) || text[colon] != ':' {
		return nil, 0, syntaxAt(text, colon, `":"`)
	}
	return text[i:end], skipSpace(text, colon+1), nil
}

func scanArray(text []byte, i, depth int) (int, *syntaxError) {
	if depth > maxDepth {
		return 0, syntax(i, fmt.Sprintf("is nested more than %d levels deep", maxDepth))
	}
	i = skipSpace(text, i+1)
	if i < len(text) && text[i] == ']' {
		return i + 1, nil
	}
	for {
		end, err := scanValue(text, i, depth)
		if err != nil {
			return 0, err
		}
		i = skipSpace(text, end)
		switch {
		case i < len(text) && text[i] == ',':
			i = skipSpace(text, i+1)
		case i < len(text) && text[i] == ']':
			return i + 1, nil
		default:
			return 0, syntaxAt(text, i, `"," or "]"`)
		}
	}
}

func scanString(text []byte, start int) (int, *syntaxError) {
	for i := start + 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1, nil
		case c < ' ':
			return 0, syntax(i, "has a bare control character in a string")
		case c == '\\':
			size := escapeSize(text[i:])
			if size == 0 {
				return 0, syntax(i, "has a broken escape in a string")
			}
			i += size - 1
		}
	}
	return 0, syntax(start, "has a string without end, which starts")
}

// escapeSize returns the length of the escape that text starts with, 0 if broken.
func escapeSize(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(text) >= 6 && isHex(text[2]) && isHex(text[3]) && isHex(text[4]) && isHex(text[5]) {
			return 6
		}
	}
	return 0
}

func scanLiteral(text []byte, i int, literal string) (int, *syntaxError) {
	end := i + len(literal)
	if end > len(text) || string(text[i:end]) != literal {
		return 0, syntaxAt(text, i, "a value")
	}
	return end, nil
}

func scanNumber(text []byte, i int) (int, *syntaxError) {
	start := i
	if text[i] == '-' {
		i++
	}
	first := i
	i = skipDigits(text, i)
	if i == first {
		return 0, syntaxAt(text, start, "a value")
	}
	if text[first] == '0' && i > first+1 {
		return 0, syntax(start, "has a number with a leading zero")
	}
	if i < len(text) && text[i] == '.' {
		fraction := i + 1
		if i = skipDigits(text, fraction); i == fraction {
			return 0, syntaxAt(text, i, "a digit")
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		exponent := i
		if i = skipDigits(text, exponent); i == exponent {
			return 0, syntaxAt(text, i, "a digit")
		}
	}
	return i, nil
}

func skipDigits(text []byte, i int) int {
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return i
}

// unquote returns the text of a JSON string that scanString has accepted, quotes
// included. It reports false for a surrogate without its other half: replacing
// it, as encoding/json does, would let two different ids become one.
func unquote(quoted []byte) (string, bool) {
	inner := quoted[1 : len(quoted)-1]
	i := 0
	for i < len(inner) && inner[i] != '\\' {
		i++
	}
	if i == len(inner) {
		return string(inner), true
	}
	out := append(make([]byte, 0, len(inner)), inner[:i]...)
	for i < len(inner) {
		if inner[i] != '\\' {
			out = append(out, inner[i])
			i++
			continue
		}
		r, size := unescape(inner[i:])
		if size == 0 {
			return "", false
		}
		out = utf8.AppendRune(out, r)
		i += size
	}
	return string(out), true
}

// unescape reads one escape, or a pair of them for a surrogate pair.
func unescape(text []byte) (rune, int) {
	switch c := text[1]; c {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := hexRune(text[2:])
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
			if pair := utf16.DecodeRune(r, hexRune(text[8:])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return 0, 0
	default:
		return rune(c), 2
	}
}

func hexRune(digits []byte) rune {
	return rune(unhex(digits[0]))<<12 | rune(unhex(digits[1]))<<8 | rune(unhex(digits[2]))<<4 | rune(unhex(digits[3]))
}
