package event

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const maxExtensionName = 64

var errTime = errors.New("no RFC 3339 time")

// The attributes that CloudEvents 1.0 itself defines, in the order in which they
// stand in a body.
const (
	attrSpecVersion = iota
	attrID
	attrSource
	attrType
	attrSubject
	attrTime
	attrContentType
	attrSchema
	attrCount
)

// coreName gives the names of the core attributes by their index.
func coreName(index int) string {
	return [attrCount]string{
		"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema",
	}[index]
}

// coreIndex is the inverse of coreName; it returns attrCount for an extension.
func coreIndex(name string) int {
	switch name {
	case "specversion":
		return attrSpecVersion
	case "id":
		return attrID
	case "source":
		return attrSource
	case "type":
		return attrType
	case "subject":
		return attrSubject
	case "time":
		return attrTime
	case "datacontenttype":
		return attrContentType
	case "dataschema":
		return attrSchema
	default:
		return attrCount
	}
}

// kind is the JSON type of an extension's value.
type kind uint8

const (
	kindText kind = iota
	kindBoolean
	kindInteger
)

type extension struct {
	name  string
	value string // canonical text of CloudEvents 1.0, section "Type System"
	kind  kind
}

// native returns the value as the SDK's model has it.
func (e extension) native() any {
	switch e.kind {
	case kindBoolean:
		return e.value == "true"
	case kindInteger:
		number, _ := strconv.ParseInt(e.value, 10, 32) // checked when it was read
		return int32(number)
	case kindText:
	}
	return e.value
}

// attributes are the attributes of one event while it is read and afterwards.
type attributes struct {
	core       [attrCount]string
	present    [attrCount]bool
	extensions []extension // sorted by name once check has run
}

func (a *attributes) has(index int) bool { return a.present[index] }

func (a *attributes) len() int {
	count := len(a.extensions)
	for _, present := range a.present {
		if present {
			count++
		}
	}
	return count
}

// set takes one attribute by its lower-case name.
func (a *attributes) set(name, value string, kind kind, bad *reasons) {
	if problem := textProblem(value); problem != "" {
		bad.add(attributeField(name), problem)
	}
	index := coreIndex(name)
	if index == attrCount {
		if problem := extensionProblem(name); problem != "" {
			bad.add(attributeField(name), problem)
		}
		if a.extensions == nil {
			a.extensions = make([]extension, 0, 4)
		}
		a.extensions = append(a.extensions, extension{name, value, kind})
		return
	}
	if kind != kindText {
		bad.add(attributeField(name), "is not a JSON string")
	}
	if a.present[index] {
		bad.add(attributeField(name), "is there more than once")
		return
	}
	a.core[index], a.present[index] = value, true
}

// check judges the attributes as a whole and returns the time.
func (a *attributes) check(eventType string, bad *reasons) time.Time {
	if count := a.len(); count > MaxAttributes {
		bad.addf(fieldAttributes, "are %d; an event may have %d", count, MaxAttributes)
	}
	slices.SortFunc(a.extensions, func(x, y extension) int { return strings.Compare(x.name, y.name) })
	for i := 1; i < len(a.extensions); i++ {
		if a.extensions[i].name == a.extensions[i-1].name {
			bad.add(attributeField(a.extensions[i].name), "is there more than once")
		}
	}
	a.checkIdentity(eventType, bad)
	return a.checkOptional(bad)
}

func (a *attributes) checkIdentity(eventType string, bad *reasons) {
	switch version := a.core[attrSpecVersion]; {
	case !a.has(attrSpecVersion):
		bad.addFirst("ce-specversion", `is missing; it must be "1.0"`)
	case version != "1.0":
		bad.addf("ce-specversion", `is %s; only "1.0" is supported`, quote(version))
	}
	if a.core[attrID] == "" {
		bad.addFirst("ce-id", "is missing or empty; give every event of one source its own id")
	}
	switch source := a.core[attrSource]; {
	case source == "":
		bad.addFirst("ce-source", "is missing or empty; name who produced the event by a URI-reference such as /orders")
	case !isReference(source, false):
		bad.addf("ce-source", "is %s, which is no URI-reference (RFC 3986); "+
			"in a ce- header the percent sign of an escape is itself written %%25", quote(source))
	}
	switch actual := a.core[attrType]; {
	case actual == "":
		bad.addFirst("ce-type", "is missing or empty; it must equal the subject after the tenant")
	case eventType != "" && actual != eventType:
		bad.addf("ce-type", "is %s but the subject says %s; they must be equal, "+
			"because permission to publish is granted on subjects", quote(actual), quote(eventType))
	}
}

func (a *attributes) checkOptional(bad *reasons) time.Time {
	if a.has(attrSubject) && a.core[attrSubject] == "" {
		bad.addFirst("ce-subject", "is empty; leave it out instead")
	}
	if schema := a.core[attrSchema]; a.has(attrSchema) && !isReference(schema, true) {
		bad.addFirst("ce-dataschema", "is "+quote(schema)+", which is no URI with a scheme (RFC 3986)")
	}
	if !a.has(attrTime) {
		return time.Time{}
	}
	at, err := parseTime(a.core[attrTime])
	if err != nil {
		bad.addFirst("ce-time", "is "+quote(a.core[attrTime])+", which is no RFC 3339 time such as 2026-01-31T09:00:00Z")
	}
	return at
}

// parseTime reads an RFC 3339 time. package time also takes a comma before the
// fraction and an hour of one digit, which other languages refuse.
func parseTime(s string) (time.Time, error) {
	const shape = "dddd-dd-ddTdd:dd:dd"
	if len(s) <= len(shape) || s[len(shape)] == ',' {
		return time.Time{}, errTime
	}
	for i := range len(shape) {
		isDigit := '0' <= s[i] && s[i] <= '9'
		if wanted := shape[i]; wanted == 'd' && !isDigit || wanted != 'd' && s[i] != wanted {
			return time.Time{}, errTime
		}
	}
	return time.Parse(time.RFC3339, s)
}

func extensionProblem(name string) string {
	switch {
	case name == "":
		return "has no name behind \"ce-\""
	case name == "data":
		return "is a reserved name; choose another for the extension"
	case len(name) > maxExtensionName:
		return "has a name longer than 64 characters"
	}
	for i := range len(name) {
		if !isLowerAlphanumeric(name[i]) {
			return "is no attribute name; names are a-z and 0-9 only"
		}
	}
	return ""
}

// textProblem applies the type String of CloudEvents 1.0 and our size limit.
func textProblem(value string) string {
	if len(value) > MaxAttributeSize {
		return "has " + strconv.Itoa(len(value)) + " bytes; an attribute may have " + strconv.Itoa(MaxAttributeSize)
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7F {
			return "holds a control character, which an attribute must not"
		} else if c >= utf8.RuneSelf {
			return wideTextProblem(value[i:])
		}
	}
	return ""
}

func wideTextProblem(value string) string {
	if !utf8.ValidString(value) {
		return "is not UTF-8"
	}
	for _, r := range value {
		switch {
		case r < ' ' || 0x7F <= r && r <= 0x9F:
			return "holds a control character, which an attribute must not"
		case 0xFDD0 <= r && r <= 0xFDEF || r&0xFFFE == 0xFFFE:
			return "holds a Unicode noncharacter, which an attribute must not"
		}
	}
	return ""
}

// isReference says whether s is a URI-reference of RFC 3986, or a URI when a
// scheme is needed. net/url alone would let spaces and bare Unicode through.
func isReference(s string, needScheme bool) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case isLowerAlphanumeric(c) || 'A' <= c && c <= 'Z' || strings.IndexByte("-._~:/?#[]@!$&'()*+,;=", c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
		default:
			return false
		}
	}
	parsed, err := url.Parse(s)
	return err == nil && s != "" && (!needScheme || parsed.Scheme != "")
}
