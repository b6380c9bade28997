package event

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

const howToPublish = "is missing, and Content-Type is not application/cloudevents+json, so this is no CloudEvent. " +
	"Publish in binary mode: headers ce-specversion: 1.0, ce-id, ce-source and ce-type, the data as the message. " +
	"Or in structured mode: header Content-Type: application/cloudevents+json, the whole event as a JSON object"

// Parse reads an event out of a NATS message: its subject, its headers and its
// data. The error is an [*InvalidError] with every reason. The Event keeps data
// without copying it, so the caller must not change it afterwards.
func Parse(subject string, header nats.Header, data []byte) (Event, error) {
	var bad reasons
	e := Event{mode: Binary, published: slices.Clip(data)}
	var eventType string
	e.tenant, eventType = splitSubject(subject, &bad)

	var seen envelope
	seen.read(header)
	if seen.contentTypes > 1 {
		bad.add(fieldContentType, "is there more than once, so it is not clear how to read the message")
		return Event{}, bad.err(e.tenant)
	}
	if size := len(data) + seen.size; size > MaxSize {
		bad.addf(fieldData, "has %d bytes together with the ce- headers; an event may have %d", size, MaxSize)
	}
	if isStructured(seen.contentType) {
		e.mode = Structured
		if !e.readStructured(seen.contentType, &bad) {
			return Event{}, bad.err(e.tenant)
		}
	} else if !e.readBinary(&seen, &bad) {
		return Event{}, bad.err(e.tenant)
	}
	e.at = e.check(eventType, &bad)
	if len(bad) > 0 {
		return Event{}, bad.err(e.tenant)
	}
	return e, nil
}

// envelope is what the headers of a message say. Problems of ce- headers are
// kept apart, because they do not matter in structured mode.
type envelope struct {
	contentType  string
	contentTypes int // how many there are
	attributes   attributes
	size         int // bytes of ce- headers
	bad          reasons
}

func (v *envelope) read(header nats.Header) {
	for name, values := range header {
		if len(values) == 0 {
			continue
		}
		if len(name) == len(fieldContentType) && strings.EqualFold(name, fieldContentType) {
			v.contentTypes += len(values)
			v.contentType = strings.Trim(values[0], " \t")
			continue
		}
		if len(name) >= 3 && name[0]|0x20 == 'c' && name[1]|0x20 == 'e' && name[2] == '-' {
			v.readAttribute(strings.ToLower(name[3:]), values)
		}
	}
}

func (v *envelope) readAttribute(name string, values []string) {
	for _, raw := range values {
		v.size += len("ce-") + len(name) + len(raw)
		value, err := DecodeHeaderValue(raw)
		if err != nil {
			v.bad.add(attributeField(name), err.Error())
			value = "" // a second mistake must not follow from the first
		}
		v.attributes.set(name, value, kindText, &v.bad)
	}
}

// readBinary takes the attributes from the headers and judges the data. It
// reports false for a message that does not look like an event at all, about
// which there is nothing more to say.
func (e *Event) readBinary(seen *envelope, bad *reasons) bool {
	e.attributes = seen.attributes
	if !e.has(attrSpecVersion) {
		bad.add("ce-specversion", howToPublish)
		if seen.size == 0 {
			return false
		}
	}
	*bad = append(*bad, seen.bad...)
	e.payload = e.published
	switch own := e.core[attrContentType]; {
	case seen.contentType == "":
	case !e.has(attrContentType):
		e.set("datacontenttype", seen.contentType, kindText, bad)
	case !sameMedia(own, seen.contentType):
		bad.addf(fieldContentType, "is %s but ce-datacontenttype is %s; send one of them, or the same in both",
			quote(seen.contentType), quote(own))
	}
	e.form = e.formOfBinary(bad)
	return true
}

// formOfBinary decides by the content type how the data will stand in JSON.
func (e *Event) formOfBinary(bad *reasons) form {
	contentType, declared := e.mediaType(bad)
	switch data := e.payload; {
	case len(data) == 0:
		return noData
	case contentType.isJSON():
		if !utf8.Valid(data) {
			bad.add(fieldData, "is declared to be JSON but is not UTF-8")
		} else if err := checkJSON(data); err != nil {
			bad.add(fieldData, "is declared to be JSON but "+err.Error())
		}
		return jsonData
	case !declared && utf8.Valid(data) && checkJSON(data) == nil:
		return jsonData
	case contentType.isText() && isPlain(data):
		return textData
	default:
		return base64Data
	}
}

// mediaType returns the parsed datacontenttype and whether there is one.
func (e *Event) mediaType(bad *reasons) (media, bool) {
	if !e.has(attrContentType) {
		return media{}, false
	}
	contentType, err := parseMedia(e.core[attrContentType])
	if err != nil {
		bad.addFirst("ce-datacontenttype", "is "+quote(e.core[attrContentType])+
			", which is no media type such as application/json")
	}
	return contentType, true
}
