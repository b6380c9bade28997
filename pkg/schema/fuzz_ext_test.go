package schema_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/schema"
)

// FuzzData: what passes is JSON that every other reader takes as well.
func FuzzData(f *testing.F) {
	for _, seed := range []string{`{}`, `[1,-0.5e+3,"\u00e9\n",true,false,null]`, `{"a":{"a":[]}}`, `{"a":1,"a":2}`, `1e400`, `1e401`, `"\ud800"`, " \t\n1 ", `01`, `[1,]`, `{"a"}`, "\"\x01\"", `tru`, strings.Repeat("[", 70), `-`, `1.`, `1e`} {
		f.Add(seed)
	}
	anything, err := schema.Compile([]byte(`{}`))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data string) {
		if problems := anything.Check([]byte(data)); len(problems) > 0 {
			return
		}
		assert.True(t, json.Valid([]byte(data)), "%q", data)
	})
}

// FuzzSchema: whatever is accepted can be stored, read back, and checks data without trouble.
func FuzzSchema(f *testing.F) {
	for _, seed := range []string{
		order, `{}`, `{"$ref":"#"}`, `{"$id":"x","$ref":"x#/$defs/a","$defs":{"a":true}}`, `{"pattern":"^a+$","format":"regex"}`,
		`{"allOf":[{"format":"email","allOf":[]}],"not":false}`, `{"format":7,"allOf":8}`, `{"enum":[{"a":1}],"uniqueItems":true}`,
		`{"$dynamicRef":"#a","$defs":{"x":{"$dynamicAnchor":"a"}}}`, `{"properties":{"$ref":{"$ref":"#/properties/$ref/items","items":{}}}}`,
		`{"minLength":1e3,"maximum":1e400,"multipleOf":0}`, `{"if":{},"then":{"$anchor":"#"},"dependentSchemas":{"a":{}}}`, `{"$ref":"#/%"}`, `{"$id":"%"}`, `{"$id":"#x"}`,
	} {
		f.Add(seed, `{"a":[1,"x",null]}`)
	}
	f.Fuzz(func(t *testing.T, text, data string) {
		began := time.Now()
		defer func() { assert.Less(t, time.Since(began), 5*time.Second, "work is bounded") }()
		s, err := schema.Compile([]byte(text))
		if err != nil {
			return
		}
		s.Check([]byte(data))
		name := schema.Name{Kind: orders(), Number: 1}
		value, err := schema.Encode(name, s, "")
		require.NoError(t, err)
		v := schema.Read(name, value, at(0))
		require.NoError(t, v.Problem())
		assert.True(t, v.Same(s))
		assert.True(t, reflect.DeepEqual(s.Check([]byte(data)), s.Check([]byte(data))), "the same data always gives the same problems")
	})
}

// FuzzKey: a key that is accepted is one that we write.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{"acme.com.acme.order.2", "acme.a=2Fb.1.retired", "acme.=", "a.b.0", "..", "acme.a..1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		name, retired, err := schema.ParseKey(key)
		if err != nil {
			return
		}
		want := name.Key()
		if retired {
			want = name.RetiredKey()
		}
		assert.Equal(t, want, key)
		assert.NotContains(t, name.URI(""), " ")
	})
}
