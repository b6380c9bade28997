package event

import (
	"encoding/base64"
	"errors"
)

var errNoEvent = errors.New("there is no event to encode: an Event comes from Parse")

// Body returns what receivers get: the event as structured JSON and its content
// type, [StructuredContentType]. An event published in structured mode gives
// exactly the bytes that were published; do not change them. One published in
// binary mode is encoded, always to the same bytes: specversion, id, source,
// type, the optional attributes that are there, the extensions by name, and the
// data at the end, as the package comment says. At most [MaxBodySize] bytes.
//
// Body encodes on every call; keep the result to use it for several endpoints.
// The only error is that of the zero Event.
func (e Event) Body() (body []byte, contentType string, err error) {
	switch e.mode {
	case Structured:
		return e.published, StructuredContentType, nil
	case Binary:
		return e.appendBody(make([]byte, 0, e.bodySize())), StructuredContentType, nil
	default:
		return nil, "", errNoEvent
	}
}

// bodySize is the size of the body when no text needs escaping.
func (e *Event) bodySize() int {
	const punctuation = len(`,"":""`)
	size := len(`{,"data_base64":""}`) + len(e.payload)
	if e.form == base64Data {
		size = len(`{,"data_base64":""}`) + base64.StdEncoding.EncodedLen(len(e.payload))
	}
	for i, value := range e.core {
		if e.present[i] {
			size += punctuation + len(coreName(i)) + len(value)
		}
	}
	for _, extension := range e.extensions {
		size += punctuation + len(extension.name) + len(extension.value)
	}
	return size
}

func (e *Event) appendBody(out []byte) []byte {
	out = append(out, '{')
	for i, value := range e.core {
		if e.present[i] {
			out = appendName(out, coreName(i))
			out = appendString(out, value)
		}
	}
	for _, extension := range e.extensions {
		out = appendName(out, extension.name)
		if extension.kind == kindText {
			out = appendString(out, extension.value)
		} else {
			out = append(out, extension.value...)
		}
	}
	switch e.form {
	case noData:
	case jsonData:
		out = append(appendName(out, fieldData), e.payload...)
	case textData:
		out = appendString(appendName(out, fieldData), e.payload)
	case base64Data:
		out = append(appendName(out, fieldDataBase64), '"')
		out = append(base64.StdEncoding.AppendEncode(out, e.payload), '"')
	}
	return append(out, '}')
}

// appendName writes a member's name, which never needs escaping.
func appendName(out []byte, name string) []byte {
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	out = append(out, '"')
	out = append(out, name...)
	return append(out, '"', ':')
}

// appendString writes a JSON string of RFC 8259 section 7 with the fewest
// escapes. The text is UTF-8, and its only control characters are those with a
// short escape; Parse has seen to both.
func appendString[T string | []byte](out []byte, text T) []byte {
	out = append(out, '"')
	start := 0
	for i := range len(text) {
		var escape byte
		switch text[i] {
		case '"', '\\':
			escape = text[i]
		case '\n':
			escape = 'n'
		case '\r':
			escape = 'r'
		case '\t':
			escape = 't'
		default:
			continue
		}
		out = append(out, text[start:i]...)
		out = append(out, '\\', escape)
		start = i + 1
	}
	out = append(out, text[start:]...)
	return append(out, '"')
}
