package event

import (
	"encoding/base64"
	"slices"
)

// DataSchema returns the attribute dataschema, or "" when it is absent.
func (e Event) DataSchema() string { return e.core[attrSchema] }

// JSON returns the data as JSON text, as it was published; do not change it. It is nil when there is no data. ok is
// false when the data is something else than JSON: text, or bytes of another kind.
func (e Event) JSON() (text []byte, ok bool) {
	switch e.form {
	case noData:
		return nil, true
	case jsonData:
		return e.payload, true
	case textData:
		return nil, false
	case base64Data:
	}
	if e.mode == Binary {
		return nil, false // declared JSON is jsonData there
	}
	contentType, err := parseMedia(e.core[attrContentType])
	if err != nil || !contentType.isJSON() {
		return nil, false
	}
	quoted, _ := unquote(e.payload)
	decoded, err := base64.StdEncoding.DecodeString(quoted)
	if err != nil || checkJSON(decoded) != nil {
		return nil, false
	}
	return decoded, true
}

// WithDataSchema returns the event with another attribute dataschema; everything else stays as it was published, byte for
// byte. The error is an [*InvalidError] when the text is no URI.
func (e Event) WithDataSchema(uri string) (Event, error) {
	var bad reasons
	if problem := textProblem(uri); problem != "" {
		bad.add("ce-dataschema", problem)
	} else if !isReference(uri, true) {
		bad.add("ce-dataschema", "is "+quote(uri)+", which is no URI with a scheme (RFC 3986)")
	}
	if len(bad) > 0 {
		return Event{}, bad.err(e.tenant)
	}
	if e.has(attrSchema) && e.DataSchema() == uri {
		return e, nil
	}
	e.core[attrSchema], e.present[attrSchema] = uri, true
	if e.mode == Structured {
		e.published = spliceMember(e.published, "dataschema", uri)
	}
	return e, nil
}

// spliceMember sets one member of an object that is known to be valid: in its place when it stands there, which may be
// under escapes, and else at the beginning.
func spliceMember(object []byte, wanted, value string) []byte {
	i := skipSpace(object, 0) + 1
	begin := i
	for i = skipSpace(object, i); i < len(object) && object[i] != '}'; i = skipSpace(object, i) {
		if object[i] == ',' {
			i = skipSpace(object, i+1)
		}
		quoted, start, err := scanName(object, i)
		if err != nil {
			break
		}
		end, err := scanValue(object, start, 1)
		if err != nil {
			break
		}
		if name, _ := unquote(quoted); name == wanted {
			return slices.Concat(object[:start], appendString(nil, value), object[end:])
		}
		i = end
	}
	member := appendString(appendName([]byte{'{'}, wanted), value)[1:]
	if object[skipSpace(object, begin)] != '}' {
		member = append(member, ',')
	}
	return slices.Concat(object[:begin], member, object[begin:])
}
