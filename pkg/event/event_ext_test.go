package event_test

import (
	"crypto/sha256"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/event"
)

func body(t *testing.T, header nats.Header, data string) string {
	t.Helper()
	e, err := event.Parse(subject, header, []byte(data))
	require.NoError(t, err)
	text, contentType, err := e.Body()
	require.NoError(t, err)
	assert.Equal(t, event.StructuredContentType, contentType)
	assert.LessOrEqual(t, len(text), event.MaxBodySize)
	assert.True(t, json.Valid(text), "%s", text)
	return string(text)
}

func TestParseBinaryWithHeadersInAnyCase(t *testing.T) {
	t.Parallel()
	e, err := event.Parse(subject, nats.Header{
		"CE-SpecVersion": {"1.0"}, "Ce-Id": {"Euro%20%e2%82%ac"}, "ce-SOURCE": {"urn:shop"}, "ce-type": {"order.created"},
		"ce-time": {"2026-01-31T10:00:00.5+01:00"}, "ce-subject": {`"order 1"`}, "content-TYPE": {"application/json"},
		"traceparent": {"00-a-b-01"}, "Ce-Traceparent": {"00-c-d-01"}, "Nats-Msg-Id": {"x"}, "ce-empty": {},
	}, []byte(`{"a":1}`))
	require.NoError(t, err)
	assert.Equal(t, event.Binary, e.Mode())
	assert.Equal(t, "acme", e.Tenant())
	assert.Equal(t, "Euro €", e.ID())
	assert.Equal(t, "urn:shop", e.Source())
	assert.Equal(t, "order.created", e.Type())
	assert.Equal(t, "order 1", e.Subject())
	assert.True(t, time.Date(2026, 1, 31, 9, 0, 0, 5e8, time.UTC).Equal(e.Time()))

	sdk := e.CloudEvent()
	require.NoError(t, sdk.Validate())
	assert.Equal(t, "application/json", sdk.DataContentType())
	assert.Equal(t, map[string]any{"traceparent": "00-c-d-01"}, sdk.Extensions())
	assert.JSONEq(t, `{"a":1}`, string(sdk.Data()))
	sdk.Data()[0] = 'x' // belongs to the caller
	assert.JSONEq(t, `{"a":1}`, string(e.CloudEvent().Data()))
}

func TestParseStructuredKeepsEveryByte(t *testing.T) {
	t.Parallel()
	const text = " {\n" + core + `,"data" : { "b":12345678901234567890, "a":1.10 },"n":-7,"ok":true,"x":null,"dataschema":"https:\/\/a\/b"}` + "\n"
	header := nats.Header{"CONTENT-type": {`Application/CloudEvents+JSON; charset="UTF-8"; profile=x`}, "ce-id": {"ignored"}}
	assert.Equal(t, text, body(t, header, text)) //nolint:testifylint // byte for byte

	e, err := event.Parse(subject, header, []byte(text))
	require.NoError(t, err)
	assert.Equal(t, event.Structured, e.Mode())
	assert.Equal(t, "1", e.ID())
	sdk := e.CloudEvent()
	assert.Equal(t, map[string]any{"n": int32(-7), "ok": true}, sdk.Extensions())
	assert.Equal(t, `{ "b":12345678901234567890, "a":1.10 }`, string(sdk.Data()))
	assert.Equal(t, "https://a/b", sdk.DataSchema())
}

func TestStructuredDataInTheModel(t *testing.T) {
	t.Parallel()
	for member, want := range map[string]string{
		`"data":"a\nb","datacontenttype":"text/plain"`:      `"a\nb"`,
		`"datacontenttype":"application/json","data":"a\n"`: `"a\n"`,
		`"data_base64":"aGk\/"`:                             "hi?",
		`"data":null`:                                       "",
		`"data":[1]`:                                        "[1]",
	} {
		e, err := event.Parse(subject, structured(), []byte(`{`+core+`,`+member+`}`))
		require.NoError(t, err, member)
		if strings.Contains(member, "text/plain") {
			want = "a\nb"
		}
		assert.Equal(t, want, string(e.CloudEvent().Data()), member)
	}
}

func TestBodyOfBinary(t *testing.T) {
	t.Parallel()
	const start = `{"specversion":"1.0","id":"42","source":"/shop","type":"order.created"`
	typed := func(contentType string) nats.Header { return binary("ce-datacontenttype", contentType) }
	for _, test := range []struct {
		name   string
		header nats.Header
		data   string
		want   string
	}{
		{"numbers and order stay", binary(), `{ "b":12345678901234567890, "a":1.10 }`, `,"datacontenttype":"application/json","data":{ "b":12345678901234567890, "a":1.10 }}`},
		{"suffix +json", typed("application/vnd.x+json"), `[1]`, `,"datacontenttype":"application/vnd.x+json","data":[1]}`},
		{"no data", binary(), ``, `,"datacontenttype":"application/json"}`},
		{"text", typed("text/plain"), "a\"b\\\n\r\t€\u2028<", `,"datacontenttype":"text/plain","data":"a\"b\\\n\r\t€` + "\u2028" + `<"}`},
		{"xml", typed("application/soap+xml"), "<a/>", `,"datacontenttype":"application/soap+xml","data":"<a/>"}`},
		{"text in another charset", typed("text/plain; charset=latin1"), "a", `,"datacontenttype":"text/plain; charset=latin1","data_base64":"YQ=="}`},
		{"text that is not UTF-8", typed("text/plain"), "\xff", `,"datacontenttype":"text/plain","data_base64":"/w=="}`},
		{"text with a control character", typed("text/plain"), "\x00", `,"datacontenttype":"text/plain","data_base64":"AA=="}`},
		{"bytes", typed("image/png"), "\x89P", `,"datacontenttype":"image/png","data_base64":"iVA="}`},
		{"untyped JSON", typed("-"), `{"a":1}`, `,"data":{"a":1}}`},
		{"untyped bytes", typed("-"), `{"a":`, `,"data_base64":"eyJhIjo="}`},
		{"content type by fallback", binary("ce-datacontenttype", "-", "Content-Type", "text/a"), "x", `,"datacontenttype":"text/a","data":"x"}`},
		{"content types that agree", binary("Content-Type", "Application/JSON"), "1", `,"datacontenttype":"application/json","data":1}`},
		{
			"every attribute", binary("ce-time", "2026-01-31T09:00:00.10Z", "ce-subject", "s%22", "ce-dataschema", "urn:x", "ce-zz", "1", "ce-aa", ""), "1",
			`,"subject":"s\"","time":"2026-01-31T09:00:00.10Z","datacontenttype":"application/json","dataschema":"urn:x","aa":"","zz":"1","data":1}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for range 5 { // a map's order must not show
				assert.Equal(t, start+test.want, body(t, test.header, test.data))
			}
		})
	}
}

func TestLimitsAreInclusive(t *testing.T) {
	t.Parallel()
	header := binary("ce-datacontenttype", "text/plain")
	headers := 0
	for name, values := range header {
		headers += len(name) + len(values[0])
	}
	body(t, header, strings.Repeat(`"`, event.MaxSize-headers)) // also the worst growth
	body(t, manyExtensions(event.MaxAttributes-5), "{}")
	body(t, binary("ce-x", strings.Repeat("%22", event.MaxAttributeSize)), "{}")
	body(t, binary("ce-"+strings.Repeat("a", 64), "x"), "{}")
}

func TestZeroEventHasNoBody(t *testing.T) {
	t.Parallel()
	_, _, err := event.Event{}.Body()
	require.Error(t, err)
	assert.Equal(t, "unknown", event.Event{}.Mode().String())
	assert.Equal(t, "binary structured", event.Binary.String()+" "+event.Structured.String())
}

func TestDigestIsUnambiguous(t *testing.T) {
	t.Parallel()
	of := func(source, id string) [32]byte {
		e, err := event.Parse(subject, binary("ce-source", source, "ce-id", id), []byte("{}"))
		require.NoError(t, err)
		return e.Digest()
	}
	assert.Equal(t, sha256.Sum256([]byte("\x00\x00\x00\x00\x00\x00\x00\x02/a\x00\x00\x00\x00\x00\x00\x00\x01b")), of("/a", "b"))
	assert.NotEqual(t, of("/a", "bc"), of("/ab", "c"))
	long := strings.Repeat("x", 300)
	assert.NotEqual(t, of("/a", long), of("/a", long+"x"))

	assert.Equal(t, "2OSjQBLRdljGQuc8gobq2116", event.MessageID("acme", "/shop", "42"), "other languages rely on it")
	seen := map[string]bool{}
	for _, id := range []string{event.MessageID("a", "b", "c"), event.MessageID("ab", "", "c"), event.MessageID("a", "bc", ""), event.MessageID("b", "b", "c")} {
		assert.Len(t, id, 24)
		assert.False(t, seen[id])
		seen[id] = true
	}
}

func TestExamplesOfTheSchemasAreValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../schemas/example/event-*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var named struct {
			Type string `json:"type"`
		}
		require.NoError(t, json.Unmarshal(text, &named))
		on, err := event.Subject("acme", named.Type)
		require.NoError(t, err)
		e, err := event.Parse(on, structured(), text)
		require.NoError(t, err, file)
		sdk := e.CloudEvent()
		require.NoError(t, sdk.Validate(), file)
		assert.NotEmpty(t, sdk.Data(), file)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(subject, "ce-id", "1", "application/json", []byte(`{"a":1}`), false)
	f.Add(subject, "ce-x", "%C0", "text/plain; charset=utf-8", []byte("\x00"), false)
	f.Add(subject, "Content-Type", "a/b", "", []byte("x"), false)
	f.Add(subject, "CE-time", "2026-01-31T09:00:00Z", event.StructuredContentType, []byte(`{`+core+`,"data":1}`), true)
	f.Add("events.a.b", "x", "", event.StructuredContentType, []byte(`{`+core+`,"data_base64":"YQ==","x":"\ud83d"}`), true)
	f.Fuzz(func(t *testing.T, on, name, value, contentType string, data []byte, isStructured bool) {
		header := binary("ce-datacontenttype", contentType)
		if isStructured {
			header = nats.Header{"Content-Type": {contentType}}
		}
		header[name] = append(header[name], value)
		e, err := event.Parse(on, header, data)
		if err != nil {
			var invalid *event.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.NotEmpty(t, invalid.Reasons)
			return
		}
		text, _, err := e.Body()
		require.NoError(t, err)
		require.True(t, json.Valid(text), "%s", text)
		require.LessOrEqual(t, len(text), event.MaxBodySize)
		again, err := event.Parse(on, structured(), text) // what we deliver is an event too
		if err != nil {
			require.Greater(t, len(text), event.MaxSize, "%v", err)
			return
		}
		require.Equal(t, e.Digest(), again.Digest())
		require.Equal(t, string(e.CloudEvent().Data()), string(again.CloudEvent().Data()))
		require.NotEmpty(t, e.CloudEvent().String())
	})
}

func oneKiB(tb testing.TB) (nats.Header, []byte) {
	tb.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	fields := map[string]any{}
	for size := 0; size < 1000; size += 40 {
		fields["field"+string(rune('a'+size/40))] = map[string]any{"name": "value", "n": random.IntN(1e6)}
	}
	data, err := json.Marshal(fields)
	require.NoError(tb, err)
	return binary("ce-time", "2026-01-31T09:00:00Z", "ce-subject", "orders/1", "ce-traceparent", strings.Repeat("0", 55)), data
}

func BenchmarkParse(b *testing.B) {
	header, data := oneKiB(b)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Parse(subject, header, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseStructured(b *testing.B) {
	header, data := oneKiB(b)
	e, _ := event.Parse(subject, header, data)
	text, _, _ := e.Body()
	header = structured()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Parse(subject, header, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	header, data := oneKiB(b)
	e, err := event.Parse(subject, header, data)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := e.Body(); err != nil {
			b.Fatal(err)
		}
	}
}
