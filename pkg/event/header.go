package event

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

var (
	errNotUTF8      = errors.New("is not UTF-8 after percent-decoding")
	errOpenQuote    = errors.New("starts with a double quote but is not one double-quoted string")
	errTrailingSign = errors.New(`has a backslash with nothing behind it`)
)

const upperHex = "0123456789ABCDEF"

// EncodeHeaderValue percent-encodes an attribute value for a ce- header:
// CloudEvents HTTP binding 1.0.2, section 3.1.3.2, which the NATS binding
// shares. Space, double quote, percent sign and everything outside U+0021 to
// U+007E become %XX of their UTF-8 bytes, in upper-case hex.
func EncodeHeaderValue(value string) string {
	escapes := 0
	for i := range len(value) {
		if mustEncode(value[i]) {
			escapes++
		}
	}
	if escapes == 0 {
		return value
	}
	out := make([]byte, 0, len(value)+2*escapes)
	for i := range len(value) {
		if c := value[i]; mustEncode(c) {
			out = append(out, '%', upperHex[c>>4], upperHex[c&0xF])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

func mustEncode(c byte) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }

// DecodeHeaderValue is the inverse of [EncodeHeaderValue], and takes what older
// producers write: a double-quoted value is unquoted first, hex may be in lower
// case, and characters that should have been encoded may stand there bare.
// Exactly one round of percent-decoding is done. A broken escape, an open quote
// and a result that is not UTF-8 are errors; the error reads as the end of a
// sentence whose beginning is the header's name.
func DecodeHeaderValue(raw string) (string, error) {
	value := strings.Trim(raw, " \t")
	if strings.HasPrefix(value, `"`) {
		var err error
		if value, err = unquoteHeader(value); err != nil {
			return "", err
		}
	}
	if strings.IndexByte(value, '%') >= 0 {
		var err error
		if value, err = percentDecode(value); err != nil {
			return "", err
		}
	}
	if !utf8.ValidString(value) {
		return "", errNotUTF8
	}
	return value, nil
}

// unquoteHeader reads a quoted-string of RFC 9110 section 5.6.4.
func unquoteHeader(value string) (string, error) {
	out := make([]byte, 0, len(value))
	for i := 1; i < len(value); i++ {
		switch c := value[i]; {
		case c == '"' && i == len(value)-1:
			return string(out), nil
		case c == '"':
			return "", errOpenQuote
		case c == '\\' && i == len(value)-1:
			return "", errTrailingSign
		case c == '\\':
			i++
			out = append(out, value[i])
		default:
			out = append(out, c)
		}
	}
	return "", errOpenQuote
}

func percentDecode(value string) (string, error) {
	out := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] != '%' {
			out = append(out, value[i])
			continue
		}
		if i+2 >= len(value) || !isHex(value[i+1]) || !isHex(value[i+2]) {
			return "", fmt.Errorf("has a broken percent escape %s; write a percent sign itself as %%25",
				quote(value[i:min(i+3, len(value))]))
		}
		out = append(out, unhex(value[i+1])<<4|unhex(value[i+2]))
		i += 2
	}
	return string(out), nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unhex returns the value of a digit for which isHex holds.
func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
