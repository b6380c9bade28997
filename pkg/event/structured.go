package event

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// readStructured takes the attributes from the JSON object that the message is.
// It reports false when nothing can be read from it.
func (e *Event) readStructured(envelopeType string, bad *reasons) bool {
	if err := checkStructured(envelopeType); err != nil {
		bad.addf(fieldContentType, "is %s: it %s", quote(envelopeType), err)
		return false
	}
	if !utf8.Valid(e.published) {
		bad.add(fieldData, "is not UTF-8")
		return false
	}
	if err := e.readMembers(bad); err != nil {
		bad.add(fieldData, "is not the JSON object of an event: it "+err.Error())
		return false
	}
	contentType, declared := e.mediaType(bad)
	if declared && !contentType.isJSON() && e.form == jsonData && e.payload[0] == '"' {
		// The string is the text itself: CloudEvents JSON format 1.0.2, section 3.1.
		e.form = textData
		if _, whole := unquote(e.payload); !whole {
			bad.add(fieldData, "holds half of a surrogate pair, which is no text")
		}
	}
	return true
}

// readMembers reads the object in one pass, because most of it is data, which
// is only looked over.
func (e *Event) readMembers(bad *reasons) *syntaxError {
	text := e.published
	i := skipSpace(text, 0)
	if i == len(text) || text[i] != '{' {
		return syntaxAt(text, i, `"{"`)
	}
	var seen members
	i = skipSpace(text, i+1)
	for first := true; i == len(text) || text[i] != '}'; first = false {
		if !first {
			if i == len(text) || text[i] != ',' {
				return syntaxAt(text, i, `"," or "}"`)
			}
			i = skipSpace(text, i+1)
		}
		quoted, start, err := scanName(text, i)
		if err != nil {
			return err
		}
		end, err := scanValue(text, start, 1)
		if err != nil {
			return err
		}
		e.readMember(quoted, text[start:end:end], &seen, bad)
		i = skipSpace(text, end)
	}
	if seen.data && seen.base64 {
		bad.add(fieldDataBase64, "is there together with data; an event has one of them")
	}
	if i = skipSpace(text, i+1); i != len(text) {
		return syntaxAt(text, i, "the end")
	}
	return nil
}

// members remembers the members that are no attributes.
type members struct{ data, base64 bool }

func (e *Event) readMember(quoted, value []byte, seen *members, bad *reasons) {
	name, whole := unquote(quoted)
	if !whole {
		bad.addf(fieldData, "has a member named %s, which is no text", quote(string(quoted)))
		return
	}
	switch name {
	case fieldData:
		if seen.data {
			bad.add(fieldData, "is there more than once")
		}
		seen.data = true
		e.setData(value)
	case fieldDataBase64:
		if seen.base64 {
			bad.add(fieldDataBase64, "is there more than once")
		}
		seen.base64 = true
		e.setBase64(value, bad)
	default:
		e.setMember(name, value, bad)
	}
}

// setData takes the data as JSON; readStructured knows better once it has seen
// the content type. Null is no data.
func (e *Event) setData(value []byte) {
	if value[0] == 'n' {
		return
	}
	e.payload, e.form = value, jsonData
}

func (e *Event) setBase64(value []byte, bad *reasons) {
	switch value[0] {
	case 'n':
	case '"':
		if text, whole := unquote(value); !whole || !isBase64(text) {
			bad.add(fieldDataBase64, "is not base64 with padding (RFC 4648 section 4)")
		}
		e.payload, e.form = value, base64Data
	default:
		bad.add(fieldDataBase64, "is not a JSON string")
	}
}

// setMember takes an attribute. A null one counts as absent: CloudEvents JSON
// format 1.0.2, section 2.2.
func (e *Event) setMember(name string, value []byte, bad *reasons) {
	switch value[0] {
	case '"':
		text, whole := unquote(value)
		if !whole {
			bad.add(attributeField(name), "holds half of a surrogate pair, which is no text")
		}
		e.set(name, text, kindText, bad)
	case 'n':
		e.setNull(name, bad)
	case 't', 'f':
		e.set(name, string(value), kindBoolean, bad)
	case '{', '[':
		bad.add(attributeField(name), "is an object or an array; an attribute is text, a boolean or an integer. "+
			"Put it into data")
	default:
		if _, err := strconv.ParseInt(string(value), 10, 32); err != nil {
			bad.addf(attributeField(name), "is %s; CloudEvents numbers are 32-bit integers, write it as a string",
				quote(string(value)))
		}
		e.set(name, string(value), kindInteger, bad)
	}
}

// setNull checks the name of an attribute that is not there.
func (e *Event) setNull(name string, bad *reasons) {
	if coreIndex(name) != attrCount {
		return
	}
	if problem := extensionProblem(name); problem != "" {
		bad.add(attributeField(name), problem)
	}
}

// isBase64 says whether s is padded standard base64, without decoding it.
func isBase64(s string) bool {
	if len(s)%4 != 0 {
		return false
	}
	digits := strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	for i := range len(digits) {
		if c := digits[i]; !isLowerAlphanumeric(c) && (c < 'A' || c > 'Z') && c != '+' && c != '/' {
			return false
		}
	}
	return true
}
