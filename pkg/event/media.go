package event

import (
	"errors"
	"mime"
	"strings"
	"unicode/utf8"
)

// StructuredContentType is the content type of every body that receivers get,
// and of a structured message.
const StructuredContentType = "application/cloudevents+json; charset=utf-8"

const structuredPrefix = "application/cloudevents"

var (
	errNoSlash = errors.New("has no slash")
	errBatch   = errors.New("is a batch; publish each event as its own message")
	errFormat  = errors.New("is a CloudEvents format that is not supported; use application/cloudevents+json")
	errCharset = errors.New("must be in UTF-8; leave charset out or write charset=utf-8")
)

// media is a parsed content type, in lower case.
type media struct {
	name    string
	charset string
}

func parseMedia(contentType string) (media, error) {
	switch contentType { // what nearly everybody sends costs no parsing
	case "application/json":
		return media{name: "application/json"}, nil
	case StructuredContentType:
		return media{name: "application/cloudevents+json", charset: "utf-8"}, nil
	case "application/cloudevents+json":
		return media{name: "application/cloudevents+json"}, nil
	}
	name, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return media{}, err
	}
	if !strings.Contains(name, "/") {
		return media{}, errNoSlash
	}
	return media{name: name, charset: strings.ToLower(parameters["charset"])}, nil
}

// isStructured decides the mode: CloudEvents HTTP binding 1.0.2 section 3, which
// the NATS binding shares.
func isStructured(contentType string) bool {
	return len(contentType) >= len(structuredPrefix) &&
		strings.EqualFold(contentType[:len(structuredPrefix)], structuredPrefix)
}

// checkStructured reports why a structured content type is refused.
func checkStructured(contentType string) error {
	m, err := parseMedia(contentType)
	switch {
	case err != nil:
		return errors.New("is no media type: " + strings.TrimPrefix(err.Error(), "mime: "))
	case strings.HasPrefix(m.name, "application/cloudevents-batch"):
		return errBatch
	case m.name != "application/cloudevents+json":
		return errFormat
	case m.charset != "" && m.charset != "utf-8":
		return errCharset
	default:
		return nil
	}
}

// sameMedia says whether two content types mean the same.
func sameMedia(a, b string) bool {
	if a == b {
		return true
	}
	nameA, parametersA, errA := mime.ParseMediaType(a)
	nameB, parametersB, errB := mime.ParseMediaType(b)
	if errA != nil || errB != nil {
		return false
	}
	return strings.EqualFold(mime.FormatMediaType(nameA, parametersA), mime.FormatMediaType(nameB, parametersB))
}

func (m media) isJSON() bool {
	return m.name == "application/json" || m.name == "text/json" || strings.HasSuffix(m.name, "+json")
}

// isText says whether the data is text that may stand in a JSON string.
func (m media) isText() bool {
	switch m.charset {
	case "", "utf-8", "us-ascii":
		return strings.HasPrefix(m.name, "text/") || m.name == "application/xml" || strings.HasSuffix(m.name, "+xml")
	default:
		return false
	}
}

// isPlain says whether text grows to at most twice its size as a JSON string.
func isPlain(text []byte) bool {
	for _, c := range text {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return utf8.Valid(text)
}
