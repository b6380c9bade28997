package endpoint_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

const pinned = "tenant: acme\nname: orders\nurl: https://hooks.example.com/in\n"

func TestPins(t *testing.T) {
	t.Parallel()
	e, err := endpoint.Parse([]byte(pinned + "filter: {types: [\"com.acme.order.*\"]}\nschema: {pin: {com.acme.order.created: \"2\", com.acme.order.paid: \"999999\"}}\n"))
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"com.acme.order.created": 2, "com.acme.order.paid": 999_999}, e.Schema.Pin)
	document, err := e.MarshalJSON()
	require.NoError(t, err)
	back, err := endpoint.Restore(document)
	require.NoError(t, err)
	assert.Equal(t, e.Schema, back.Schema)

	e, err = endpoint.Parse([]byte(pinned))
	require.NoError(t, err)
	assert.Nil(t, e.Schema.Pin)
}

func TestBadPins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a number":      {`schema: {pin: {a.b: 2}}`, `schema.pin["a.b"]: must be text, not a number: put it in quotes`},
		"zero":          {`schema: {pin: {a.b: "0"}}`, `schema.pin["a.b"]: "0" is not a version: write the number of the version in quotes, such as "2"`},
		"too high":      {`schema: {pin: {a: "1000000"}}`, `schema.pin.a: "1000000" is not a version`},
		"a word":        {`schema: {pin: {a.b: latest}}`, `schema.pin["a.b"]: "latest" is not a version`},
		"a pattern":     {`schema: {pin: {"a.*": "2"}}`, `schema.pin["a.*"]: "a.*" is not the type of an event`},
		"a long type":   {`schema: {pin: {` + strings.Repeat("a", 257) + `: "2"}}`, `is a type of 257 characters; a type with a schema has at most 256`},
		"no use":        {"filter: {types: [x.y]}\nschema: {pin: {a.b: \"2\"}}", `schema.pin["a.b"]: has no use, because filter.types lets no event of this type through`},
		"another field": {`schema: {pins: {a.b: "2"}}`, `schema.pins: is not a field of an endpoint; did you mean schema.pin?`},
		"a list":        {`schema: {pin: [a.b]}`, `schema.pin: must be a mapping, not a list`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := endpoint.Parse([]byte(pinned + c.text + "\n"))
			require.ErrorContains(t, err, c.want)
		})
	}
}
