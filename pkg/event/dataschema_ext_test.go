package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/event"
)

func TestAnotherDataSchema(t *testing.T) {
	t.Parallel()
	const uri = "urn:handfast:schema:acme:a.b:2"
	structured := func(text string) event.Event {
		e, err := event.Parse("events.acme.a.b", nats.Header{"Content-Type": {"application/cloudevents+json"}}, []byte(text))
		require.NoError(t, err)
		return e
	}
	for name, c := range map[string]struct{ before, after string }{
		"absent":      {`{ "specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"total":1.10} }`, `{"dataschema":"` + uri + `", "specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"total":1.10} }`},
		"there":       {`{"specversion":"1.0","dataschema" : "x:y" ,"id":"1","source":"/s","type":"a.b"}`, `{"specversion":"1.0","dataschema" : "` + uri + `" ,"id":"1","source":"/s","type":"a.b"}`},
		"at the end":  {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"a.b\",\n\"dataschema\":\"x:y\"}\n", "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"a.b\",\n\"dataschema\":\"" + uri + "\"}\n"},
		"escaped":     {`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","d\u0061taschema":"x:y"}`, `{"specversion":"1.0","id":"1","source":"/s","type":"a.b","d\u0061taschema":"` + uri + `"}`},
		"null":        {`{"specversion":"1.0","dataschema":null,"id":"1","source":"/s","type":"a.b"}`, `{"specversion":"1.0","dataschema":"` + uri + `","id":"1","source":"/s","type":"a.b"}`},
		"in the data": {`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"dataschema":"x:y"}}`, `{"dataschema":"` + uri + `","specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"dataschema":"x:y"}}`},
		"the same":    {`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","dataschema":"` + uri + `"}`, `{"specversion":"1.0","id":"1","source":"/s","type":"a.b","dataschema":"` + uri + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := structured(c.before)
			after, err := before.WithDataSchema(uri)
			require.NoError(t, err)
			assert.Equal(t, uri, after.DataSchema())
			body, content, err := after.Body()
			require.NoError(t, err)
			assert.Equal(t, c.after, string(body))
			assert.Equal(t, event.StructuredContentType, content)
			assert.Equal(t, uri, structured(string(body)).DataSchema(), "and it is a valid event")
			body, _, err = before.Body()
			require.NoError(t, err)
			assert.Equal(t, c.before, string(body), "the one before is as it was")
		})
	}
	binary, err := event.Parse("events.acme.a.b", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/s"}, "ce-type": {"a.b"}, "Content-Type": {"application/json"}}, []byte(`{"total": 1.10}`))
	require.NoError(t, err)
	after, err := binary.WithDataSchema(uri)
	require.NoError(t, err)
	body, _, err := after.Body()
	require.NoError(t, err)
	assert.Equal(t, `{"specversion":"1.0","id":"1","source":"/s","type":"a.b","datacontenttype":"application/json","dataschema":"`+uri+`","data":{"total": 1.10}}`, string(body)) //nolint:testifylint // byte for byte
	assert.Empty(t, binary.DataSchema())

	for _, bad := range []string{"", "no scheme", "urn:a\nb", "x:" + strings.Repeat("y", event.MaxAttributeSize)} {
		_, err := binary.WithDataSchema(bad)
		var invalid *event.InvalidError
		require.ErrorAs(t, err, &invalid, bad)
	}
}

// FuzzWithDataSchema: whatever was published, the result is a valid event that differs in nothing else.
func FuzzWithDataSchema(f *testing.F) {
	for _, seed := range []string{
		`{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}`, `{"dataschema":"x:y","specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"dataschema":1}}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","\u0064ataschema":null,"dataschema":null}`, ` { "specversion" : "1.0" , "id":"1","source":"/s","type":"a.b" } `,
	} {
		f.Add(seed)
	}
	header := nats.Header{"Content-Type": {"application/cloudevents+json"}}
	f.Fuzz(func(t *testing.T, text string) {
		before, err := event.Parse("events.acme.a.b", header, []byte(text))
		if err != nil {
			return
		}
		after, err := before.WithDataSchema("urn:x:y")
		require.NoError(t, err)
		body, _, err := after.Body()
		require.NoError(t, err)
		if len(body) > event.MaxSize {
			return
		}
		again, err := event.Parse("events.acme.a.b", header, body)
		require.NoError(t, err, "%s", body)
		assert.Equal(t, "urn:x:y", again.DataSchema())
		var was, is map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &was))
		require.NoError(t, json.Unmarshal(body, &is))
		delete(was, "dataschema")
		delete(is, "dataschema")
		assert.Equal(t, was, is)
	})
}
