package event_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/event"
)

const subject = "events.acme.order.created"

// binary returns the headers of a valid binary event, changed as told. A value
// of "-" removes a header.
func binary(changes ...string) nats.Header {
	header := nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {"42"}, "ce-source": {"/shop"}, "ce-type": {"order.created"},
		"ce-datacontenttype": {"application/json"},
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "-" {
			delete(header, changes[i])
		} else {
			header[changes[i]] = []string{changes[i+1]}
		}
	}
	return header
}

func structured() nats.Header {
	return nats.Header{"Content-Type": {event.StructuredContentType}}
}

func with(header nats.Header, name string, values ...string) nats.Header {
	header = maps.Clone(header)
	header[name] = values
	return header
}

func manyExtensions(n int) nats.Header {
	header := binary()
	for i := range n {
		header["ce-x"+strconv.Itoa(i)] = []string{"v"}
	}
	return header
}

const core = `"specversion":"1.0","id":"1","source":"/s","type":"order.created"`

type invalidCase struct {
	name    string
	subject string
	header  nats.Header
	data    string
	want    []string // "field: piece of the message", in order, all of them
}

func binaryCases() []invalidCase {
	return []invalidCase{
		{"not an event", "", nil, "hello", []string{"ce-specversion: Or in structured mode"}},
		{"only a foreign content type", "", nats.Header{"Content-Type": {"text/plain"}}, "x", []string{"ce-specversion: Publish in binary mode"}},
		{"everything missing", "", nats.Header{"ce-x": {"1"}}, "", []string{
			"ce-id: missing", "ce-source: missing", "ce-specversion: Publish in binary", "ce-type: missing",
		}},
		{"other version", "", binary("ce-specversion", "0.3"), "{}", []string{`ce-specversion: is "0.3"`}},
		{"type differs", "", binary("ce-type", "order.paid"), "{}", []string{`ce-type: is "order.paid" but the subject says "order.created"`}},
		{"type differs in case", "", binary("ce-type", "Order.created"), "{}", []string{"ce-type: permission"}},
		{"empty id and source", "", binary("ce-id", "", "ce-source", ""), "{}", []string{"ce-id: empty", "ce-source: empty"}},
		{"source with a space", "", binary("ce-source", "/a%20b"), "{}", []string{"ce-source: %25"}},
		{"source with a control byte in a digit's place", "", binary("ce-source", "/a%11"), "{}", []string{"ce-source: control", "ce-source: URI-reference"}},
		{"bad source, schema and time", "", binary("ce-source", "::", "ce-dataschema", "/relative", "ce-time", "yesterday"), "{}", []string{
			"ce-dataschema: scheme", "ce-source: URI-reference", "ce-time: RFC 3339",
		}},
		{"time with a comma", "", binary("ce-time", "2026-01-31T09:00:00,5Z"), "{}", []string{"ce-time: RFC 3339"}},
		{"time that is none", "", binary("ce-time", "2026-02-30T09:00:00Z"), "{}", []string{"ce-time: RFC 3339"}},
		{"time with a short hour", "", binary("ce-time", "2026-01-31T9:00:00Z"), "{}", []string{"ce-time: RFC 3339"}},
		{"empty subject attribute", "", binary("ce-subject", ""), "{}", []string{"ce-subject: leave it out"}},
		{"doubled header", "", with(binary(), "ce-id", "1", "2"), "{}", []string{"ce-id: more than once"}},
		{"doubled in another case", "", with(binary(), "CE-ID", "42"), "{}", []string{"ce-id: more than once"}},
		{"doubled extension", "", with(with(binary(), "ce-x", "1"), "Ce-X", "1"), "{}", []string{"ce-x: more than once"}},
		{"doubled content type", "", with(with(binary(), "Content-Type", "text/a"), "content-type", "text/b"), "{}", []string{"Content-Type: more than once"}},
		{"content types disagree", "", binary("Content-Type", "text/plain"), "{}", []string{`Content-Type: is "text/plain" but ce-datacontenttype is "application/json"`}},
		{"content type is none", "", binary("ce-datacontenttype", "json"), "{}", []string{"ce-datacontenttype: no media type"}},
		{"content type by fallback is none", "", binary("ce-datacontenttype", "-", "Content-Type", "json"), "{}", []string{"ce-datacontenttype: no media type"}},
		{"control byte by fallback", "", binary("ce-datacontenttype", "-", "Content-Type", "text/plain; a=\"\x01\""), "x", []string{"ce-datacontenttype: control"}},
		{"not UTF-8 by fallback", "", binary("ce-datacontenttype", "-", "Content-Type", "text/plain; a=\"\xff\""), "x", []string{"ce-datacontenttype: not UTF-8"}},
		{"not UTF-8", "", binary("ce-id", "%C0%A0"), "{}", []string{"ce-id: not UTF-8"}},
		{"broken escape", "", binary("ce-id", "100%"), "{}", []string{"ce-id: %25"}},
		{"open quote", "", binary("ce-id", `"a" b`), "{}", []string{"ce-id: double-quoted"}},
		{"control character", "", binary("ce-id", "a%0Ab"), "{}", []string{"ce-id: control"}},
		{"C1 control character", "", binary("ce-id", "a%C2%85b"), "{}", []string{"ce-id: control"}},
		{"noncharacter", "", binary("ce-id", "a%EF%BF%BFb"), "{}", []string{"ce-id: noncharacter"}},
		{"reserved extension", "", binary("ce-data", "x"), "{}", []string{"ce-data: reserved"}},
		{"extension name", "", binary("ce-my_key", "x", "ce-", "y"), "{}", []string{"ce-: no name", "ce-my_key: a-z and 0-9"}},
		{"long extension name", "", binary("ce-"+strings.Repeat("a", 65), "x"), "{}", []string{`ce-"` + strings.Repeat("a", 64) + `"…: 64`}},
		{"long attribute", "", binary("ce-x", strings.Repeat("a", event.MaxAttributeSize+1)), "{}", []string{"ce-x: 4097 bytes"}},
		{"too many attributes", "", manyExtensions(event.MaxAttributes - 4), "{}", []string{"attributes: 65"}},
		{"too large", "", binary(), `"` + strings.Repeat("a", event.MaxSize) + `"`, []string{"data: 262144"}},
		{"data is no JSON", "", binary(), `{"a":01}`, []string{"data: leading zero at byte 5"}},
		{"JSON is not UTF-8", "", binary(), "\"\xff\"", []string{"data: not UTF-8"}},
	}
}

func structuredCases() []invalidCase {
	ce := structured()
	return []invalidCase{
		{"batch", "", nats.Header{"Content-Type": {"application/cloudevents-batch+json"}}, "[]", []string{"Content-Type: batch"}},
		{"other format", "", nats.Header{"content-type": {"application/cloudevents+avro"}}, "x", []string{"Content-Type: application/cloudevents+json"}},
		{"no format", "", nats.Header{"Content-Type": {"application/cloudevents"}}, "{}", []string{"Content-Type: not supported"}},
		{"other charset", "", nats.Header{"Content-Type": {"application/cloudevents+json; charset=latin1"}}, "{}", []string{"Content-Type: UTF-8"}},
		{"broken parameters", "", nats.Header{"Content-Type": {"application/cloudevents+json; charset"}}, "{}", []string{"Content-Type: no media type"}},
		{"no data", "", ce, "", []string{`data: "{" is missing at byte 0`}},
		{"broken JSON", "", ce, `{"id":"1",}`, []string{"data: name in double quotes"}},
		{"an array", "", ce, "[]", []string{`data: has '[' where "{"`}},
		{"two objects", "", ce, `{` + core + `} {}`, []string{"data: the end"}},
		{"no comma", "", ce, `{` + core + ` "x":1}`, []string{`data: "," or "}"`}},
		{"cut off", "", ce, `{` + core, []string{`data: "," or "}" is missing`}},
		{"cut off in a value", "", ce, `{` + core + `,"data":[1`, []string{"data: ends too early"}},
		{"open string", "", ce, `{"id`, []string{"data: string without end"}},
		{"no colon", "", ce, `{"id"}`, []string{`data: ":"`}},
		{"not UTF-8", "", ce, "{\"id\":\"\xff\"}", []string{"data: not UTF-8"}},
		{"empty object", "", ce, "{}", []string{"ce-id: missing", "ce-source: missing", "ce-specversion: missing", "ce-type: missing"}},
		{"null is absent", "", ce, `{"specversion":"1.0","id":null,"source":"/s","type":"order.created"}`, []string{"ce-id: missing"}},
		{"doubled member", "", ce, `{` + core + `,"id":"2"}`, []string{"ce-id: more than once"}},
		{"doubled by an escape", "", ce, `{` + core + `,"\u0069d":"2"}`, []string{"ce-id: more than once"}},
		{"doubled data", "", ce, `{` + core + `,"data":1,"data":2}`, []string{"data: more than once"}},
		{"two kinds of data", "", ce, `{` + core + `,"data":1,"data_base64":"YQ=="}`, []string{"data_base64: together"}},
		{"null counts as data", "", ce, `{` + core + `,"data_base64":null,"data_base64":"YQ==","data":null}`, []string{"data_base64: more than once", "data_base64: together"}},
		{"bad base64", "", ce, `{` + core + `,"data_base64":"YQ"}`, []string{"data_base64: padding"}},
		{"base64 is a number", "", ce, `{` + core + `,"data_base64":1}`, []string{"data_base64: string"}},
		{"core is a number", "", ce, `{"specversion":"1.0","id":1,"source":"/s","type":"order.created"}`, []string{"ce-id: not a JSON string"}},
		{"extension is an object", "", ce, `{` + core + `,"x":{}}`, []string{"ce-x: object"}},
		{"extension is a fraction", "", ce, `{` + core + `,"x":1.5,"y":2147483648}`, []string{"ce-x: 32-bit", "ce-y: 32-bit"}},
		{"member name", "", ce, `{` + core + `,"dataBase64":"x","a_b":null}`, []string{"ce-a_b: a-z", "ce-dataBase64: a-z"}},
		{"half a surrogate pair", "", ce, `{` + core + `,"x":"\ud83d","\ude00":1}`, []string{"ce-x: surrogate", "data: no text"}},
		{"control character by escape", "", ce, `{` + core + `,"x":"\u0000"}`, []string{"ce-x: control"}},
		{"type of the body counts", "", with(ce, "ce-type", "order.created"), `{"specversion":"1.0","id":"1","source":"/s","type":"order.paid"}`, []string{"ce-type: permission"}},
		{"half a surrogate pair in text", "", ce, `{` + core + `,"datacontenttype":"text/plain","data":"\ud83d"}`, []string{"data: surrogate"}},
		{"too deep", "", ce, `{` + core + `,"data":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, []string{"data: 512 levels"}},
	}
}

func subjectCases() []invalidCase {
	cases := []invalidCase{}
	for bad, want := range map[string]string{
		"orders.acme.x": "events.<tenant>.<type>", "events": "events.<tenant>.<type>", "": "events.<tenant>.<type>",
		"events..order.created": "tenant", "events.Acme.order.created": "tenant",
		"events.-a.order.created": "tenant", "events.a-.order.created": "tenant",
		"events." + strings.Repeat("a", 64) + ".order.created": "tenant", "events.*.order.created": "tenant",
		"events.acme": "missing", "events.acme.": "missing", "events.acme.a..b": "empty token",
		"events.acme.a.": "empty token", "events.acme.*": "wildcards", "events.acme.>": "wildcards",
		"events.acme.a b": "white space", "events.acme.é": "printable ASCII",
	} {
		cases = append(cases, invalidCase{"subject " + bad, bad, binary(), "{}", []string{"subject: " + want}})
	}
	return cases
}

func TestInvalidMessagesTellEveryReason(t *testing.T) {
	t.Parallel()
	all := append(append(binaryCases(), structuredCases()...), subjectCases()...)
	for _, test := range all {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			on := test.subject
			if on == "" && !strings.HasPrefix(test.name, "subject ") {
				on = subject
			}
			_, err := event.Parse(on, test.header, []byte(test.data))
			var invalid *event.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Len(t, invalid.Reasons, len(test.want), "%v", invalid.Reasons)
			for i, want := range test.want {
				field, message, _ := strings.Cut(want, ": ")
				assert.Equal(t, field, invalid.Reasons[i].Field)
				assert.Contains(t, invalid.Reasons[i].Message, message)
				assert.Contains(t, err.Error(), invalid.Reasons[i].Message)
			}
		})
	}
}

func TestInvalidErrorNamesTheTenantWhenTheSubjectTellsIt(t *testing.T) {
	t.Parallel()
	for on, want := range map[string]string{
		"events.acme.order.created": "acme", "events.acme": "acme", "events.acme.*": "acme",
		"events.ACME.order.created": "", "other.acme.x": "",
	} {
		_, err := event.Parse(on, nil, nil)
		var invalid *event.InvalidError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, want, invalid.Tenant, on)
		if want != "" {
			assert.Contains(t, err.Error(), "(tenant acme)")
		}
	}
}

func TestInvalidErrorStaysShortAndPrintable(t *testing.T) {
	t.Parallel()
	header := nats.Header{}
	for i := range 5000 {
		header["ce-_"+strconv.Itoa(i)+strings.Repeat("\x1b[31m", 300)] = []string{"%zz"}
	}
	_, err := event.Parse(subject, header, nil)
	var invalid *event.InvalidError
	require.ErrorAs(t, err, &invalid)
	assert.Len(t, invalid.Reasons, 51)
	assert.Contains(t, invalid.Reasons[50].Message, "more problems")
	assert.Less(t, len(err.Error()), 20_000)
	assert.NotContains(t, err.Error(), "\x1b")
	again := err.Error()
	for range 5 { // the order of a map must not show
		_, err = event.Parse(subject, header, nil)
		assert.Equal(t, again, err.Error())
	}
}
