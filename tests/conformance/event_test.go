package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

const (
	kindOfEvent = "com.acme.order.created"
	eventSource = "/shop"
	structured  = "application/cloudevents+json; charset=utf-8"
	unicode     = "Euro € 😀"
	encoded     = "Euro%20%E2%82%AC%20%F0%9F%98%80" // the CloudEvents HTTP binding's own example
)

// published is one message as a producer sends it, and the event that the official SDK must find in what arrives. The
// attributes that every message has (specversion, id, source, type) are added by the test.
type published struct {
	name   string
	header map[string]string // binary mode: names without ce-; Content-Type stands for itself
	// body is the data of a binary message. In a structured one it is the whole document, with $ for the attributes
	// that every message has.
	body       string
	structured bool

	subject, contentType, schema string
	at                           string
	extensions                   map[string]any
	data                         string
}

// binaryMessages say with headers what structuredMessages say with a document.
func binaryMessages() []published {
	blob := string([]byte{0x00, 0xff, 0xfe, 0x80, '\n', 0x7f})
	return []published{
		{name: "the least", data: ""},
		{name: "JSON", header: map[string]string{"datacontenttype": "application/json"}, body: `{"order":1}`, contentType: "application/json", data: `{"order":1}`},
		{name: "JSON without being asked", body: ` [1, 2,3] `, data: ` [1, 2,3] `},
		{
			name: "numbers as written", header: map[string]string{"datacontenttype": "application/json"}, contentType: "application/json",
			body: `{"big":12345678901234567890,"price":1.10,"tiny":1e-400,"zero":-0.0}`,
			data: `{"big":12345678901234567890,"price":1.10,"tiny":1e-400,"zero":-0.0}`,
		},
		{name: "a JSON string", header: map[string]string{"datacontenttype": "application/json"}, body: `"text"`, contentType: "application/json", data: `"text"`},
		{name: "Content-Type in place of ce-datacontenttype", header: map[string]string{"Content-Type": "application/json"}, body: `{}`, contentType: "application/json", data: `{}`},
		{name: "text", header: map[string]string{"datacontenttype": "text/plain"}, body: "line \"one\"\n\t" + unicode + `\`, contentType: "text/plain", data: "line \"one\"\n\t" + unicode + `\`},
		{name: "text that looks like JSON", header: map[string]string{"datacontenttype": "text/plain; charset=utf-8"}, body: `{"a":1}`, contentType: "text/plain; charset=utf-8", data: `{"a":1}`},
		{name: "text that is not UTF-8", header: map[string]string{"datacontenttype": "text/plain"}, body: "caf\xe9", contentType: "text/plain", data: "caf\xe9"},
		{name: "XML", header: map[string]string{"datacontenttype": "application/xml"}, body: `<a b="c">&amp;é</a>`, contentType: "application/xml", data: `<a b="c">&amp;é</a>`},
		{name: "bytes", header: map[string]string{"datacontenttype": "application/octet-stream"}, body: blob, contentType: "application/octet-stream", data: blob},
		{name: "bytes of no declared type", body: blob, data: blob},
		{name: "no data but a type", header: map[string]string{"datacontenttype": "application/json"}, contentType: "application/json"},
		{name: "an attribute in Unicode", header: map[string]string{"subject": encoded}, subject: unicode},
		{name: "an extension in Unicode", header: map[string]string{"customer": encoded}, extensions: map[string]any{"customer": unicode}},
		{name: "hex in lower case", header: map[string]string{"customer": "caf%c3%a9"}, extensions: map[string]any{"customer": "café"}},
		{name: "one round of decoding", header: map[string]string{"customer": "100%2525"}, extensions: map[string]any{"customer": "100%25"}},
		{name: "extensions are text", header: map[string]string{"retries": "7", "urgent": "true"}, extensions: map[string]any{"retries": "7", "urgent": "true"}},
		{name: "the trace extension", header: map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, extensions: map[string]any{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
		{name: "a time in nanoseconds", header: map[string]string{"time": "2026-01-31T23:59:59.123456789Z"}, at: "2026-01-31T23:59:59.123456789Z"},
		{name: "a time in a zone", header: map[string]string{"time": "2026-01-31T23:59:59.5+05:30"}, at: "2026-01-31T18:29:59.5Z"},
		{name: "a schema", header: map[string]string{"dataschema": "https://acme.example/schema?v=1#order"}, schema: "https://acme.example/schema?v=1#order"},
	}
}

func structuredMessages() []published {
	return []published{
		{name: "the least", body: `{$}`},
		{name: "JSON", body: `{$,"datacontenttype":"application/json","data":{"order":1}}`, contentType: "application/json", data: `{"order":1}`},
		{name: "odd spacing and escapes", body: "\n{ \"data\" : { \"a\" : \"\\u20ac\" } ,\t$ }\r\n", data: `{ "a" : "\u20ac" }`},
		{
			name: "numbers as written", body: `{$,"data":{"big":12345678901234567890,"price":1.10,"tiny":1e-400}}`,
			data: `{"big":12345678901234567890,"price":1.10,"tiny":1e-400}`,
		},
		{name: "text", body: `{$,"datacontenttype":"text/plain","data":"line \"one\"\n\t€ 😀"}`, contentType: "text/plain", data: "line \"one\"\n\t€ 😀"},
		{name: "XML", body: `{$,"datacontenttype":"application/xml","data":"<a b=\"c\">é</a>"}`, contentType: "application/xml", data: `<a b="c">é</a>`},
		{
			name: "bytes", body: `{$,"datacontenttype":"application/octet-stream","data_base64":"` + base64.StdEncoding.EncodeToString([]byte{0, 255, 254}) + `"}`,
			contentType: "application/octet-stream", data: "\x00\xff\xfe",
		},
		{name: "Unicode", body: `{$,"subject":"Euro € 😀","customer":"Euro \u20ac \ud83d\ude00"}`, subject: unicode, extensions: map[string]any{"customer": unicode}},
		{name: "extensions of other types", body: `{$,"urgent":true,"retries":-7}`, extensions: map[string]any{"urgent": true, "retries": int32(-7)}},
		{name: "a time in nanoseconds", body: `{$,"time":"2026-01-31T23:59:59.123456789+01:00"}`, at: "2026-01-31T22:59:59.123456789Z"},
		{name: "a schema", body: `{$,"dataschema":"https://acme.example/schema"}`, schema: "https://acme.example/schema"},
	}
}

// message is what the producer sends.
func (p published) message(id string) *nats.Msg {
	header := nats.Header{}
	if p.structured {
		header["Content-Type"] = []string{structured}
		core := fmt.Sprintf(`"specversion":"1.0","id":%q,"source":%q,"type":%q`, id, eventSource, kindOfEvent)
		return &nats.Msg{Subject: "events.acme." + kindOfEvent, Header: header, Data: []byte(strings.Replace(p.body, "$", core, 1))}
	}
	for name, value := range map[string]string{"specversion": "1.0", "id": id, "source": eventSource, "type": kindOfEvent} {
		header["ce-"+name] = []string{value}
	}
	for name, value := range p.header {
		if name != "Content-Type" {
			name = "ce-" + name
		}
		header[name] = []string{value}
	}
	return &nats.Msg{Subject: "events.acme." + kindOfEvent, Header: header, Data: []byte(p.body)}
}

// byID sorts what has arrived by the id that the SDK finds.
func byID(t *testing.T, hits []kit.Hit) map[string]kit.Hit {
	t.Helper()
	all := make(map[string]kit.Hit, len(hits))
	for _, hit := range hits {
		all[read(t, hit).ID()] = hit
	}
	require.Len(t, all, len(hits), "none twice")
	return all
}

// read is a receiver that knows nothing but the official SDK.
func read(t *testing.T, hit kit.Hit) *cloudevents.Event {
	t.Helper()
	message := cehttp.NewMessage(hit.Header, io.NopCloser(bytes.NewReader(hit.Body)))
	require.Equal(t, binding.EncodingStructured, message.ReadEncoding())
	e, err := binding.ToEvent(t.Context(), message)
	require.NoError(t, err, "%s", hit.Body)
	require.NoError(t, e.Validate(), "%s", hit.Body)
	var plain cloudevents.Event
	require.NoError(t, json.Unmarshal(hit.Body, &plain), "and by its plain JSON reader")
	require.Equal(t, plain.String(), e.String())
	return e
}

// TestEventsArriveAsTheyWere publishes each message raw and reads what arrives with the official SDK.
func TestEventsArriveAsTheyWere(t *testing.T) {
	messages := binaryMessages()
	for _, message := range structuredMessages() {
		message.structured = true
		messages = append(messages, message)
	}
	var hits map[string]kit.Hit
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		for i, p := range messages {
			_, err := w.JS.PublishMsg(t.Context(), p.message(strconv.Itoa(i)))
			require.NoError(t, err)
		}
		w.Pass(time.Second)
		assert.Zero(t, w.Count(stream.DeadLetters), "%s", w.DeadLetters())
		hits = byID(t, r.Hits())
	})
	require.Len(t, hits, len(messages))
	for i, p := range messages {
		name := "binary: " + p.name
		if p.structured {
			name = "structured: " + p.name
		}
		t.Run(name, func(t *testing.T) { p.judge(t, hits[strconv.Itoa(i)], strconv.Itoa(i)) })
	}
}

// judge compares every attribute and the data.
func (p published) judge(t *testing.T, hit kit.Hit, id string) {
	t.Helper()
	require.NotEmpty(t, hit.Body)
	assert.Equal(t, []string{structured}, hit.Header["Content-Type"])
	for name := range hit.Header {
		assert.NotRegexp(t, "(?i)^ce-", name, "the attributes stand in the body alone")
	}
	e := read(t, hit)
	assert.Equal(t, "1.0", e.SpecVersion())
	assert.Equal(t, id, e.ID())
	assert.Equal(t, eventSource, e.Source())
	assert.Equal(t, kindOfEvent, e.Type())
	assert.Equal(t, p.subject, e.Subject())
	assert.Equal(t, p.contentType, e.DataContentType())
	assert.Equal(t, p.schema, e.DataSchema())
	if p.at == "" {
		assert.True(t, e.Time().IsZero())
	} else {
		assert.Equal(t, p.at, e.Time().UTC().Format(time.RFC3339Nano))
	}
	if len(p.extensions) == 0 {
		assert.Empty(t, e.Extensions())
	} else {
		assert.Equal(t, p.extensions, e.Extensions())
	}
	if json.Valid([]byte(p.data)) && !strings.HasPrefix(p.contentType, "text/") {
		// White space around a JSON value is no part of it, and the SDK drops half of it.
		assert.Equal(t, string(bytes.TrimSpace([]byte(p.data))), string(bytes.TrimSpace(e.Data())))
		assert.Contains(t, string(hit.Body), p.data, "we drop none")
	} else {
		assert.Equal(t, p.data, string(e.Data()))
	}
	if p.structured {
		assert.Equal(t, string(p.message(id).Data), string(hit.Body), "a published document arrives byte for byte")
	}
}

// TestJSONDialects has data of a type that ends in +json. The CloudEvents JSON format (1.0.2, section 3.1.1) wants it as a
// JSON value; the official SDK for Go cannot read that yet (cloudevents/sdk-go issue 1273). The day it can, the last
// line fails and the row moves into the table above.
func TestJSONDialects(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		p := published{header: map[string]string{"datacontenttype": "application/vnd.acme+json"}, body: `{"a":1.10}`}
		_, err := w.JS.PublishMsg(t.Context(), p.message("1"))
		require.NoError(t, err)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		body := r.Hits()[0].Body
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &members))
		assert.Equal(t, p.body, string(members["data"]))
		assert.Equal(t, `"application/vnd.acme+json"`, string(members["datacontenttype"]))
		var e cloudevents.Event
		assert.ErrorContains(t, json.Unmarshal(body, &e), "application/vnd.acme+json")
	})
}
