package schemas_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/schemas"
)

func document(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := schemas.Get(name)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	object, ok := value.(map[string]any)
	require.True(t, ok, "a schema file holds an object")
	return object
}

func TestEverySchemaIsComplete(t *testing.T) {
	require.NotEmpty(t, schemas.Names())
	for _, name := range schemas.Names() {
		t.Run(name, func(t *testing.T) {
			object := document(t, name)
			assert.Equal(t, "https://json-schema.org/draft/2020-12/schema", object["$schema"])
			assert.True(t, strings.HasSuffix(object["$id"].(string), "/"+name+".schema.json"))
			assert.NotEmpty(t, object["title"])
			assert.NotEmpty(t, object["description"])

			schema, err := schemas.Compile(name)
			require.NoError(t, err)
			examples, _ := object["examples"].([]any)
			require.NotEmpty(t, examples, "editors show examples")
			for _, example := range examples {
				require.NoError(t, schema.Validate(example))
			}
			assert.Error(t, schema.Validate("a text is none of our documents"))
		})
	}
}

func TestEveryPropertyIsDescribed(t *testing.T) {
	for _, name := range schemas.Names() {
		described(t, name, document(t, name))
	}
}

func described(t *testing.T, path string, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range properties {
		property, ok := value.(map[string]any)
		if !assert.True(t, ok, "%s.%s is an object", path, name) {
			continue
		}
		assert.NotEmpty(t, property["description"], "%s.%s has a description", path, name)
		described(t, path+"."+name, property)
	}
}

func TestUnknownName(t *testing.T) {
	_, err := schemas.Get("endpont")
	require.ErrorContains(t, err, `there is no schema "endpont"; there are `)
	_, err = schemas.Compile("../go")
	require.ErrorContains(t, err, `there is no schema "../go"`)
}

func TestGetHandsOutACopy(t *testing.T) {
	first, err := schemas.Get("endpoint")
	require.NoError(t, err)
	first[0] = 'x'
	second, err := schemas.Get("endpoint")
	require.NoError(t, err)
	assert.Equal(t, byte('{'), second[0])
}
