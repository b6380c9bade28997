package schema_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/schema"
)

const order = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["id", "total"],
  "additionalProperties": false,
  "properties": {
    "id": {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$"},
    "total": {"type": "number", "minimum": 0},
    "email": {"type": "string", "format": "email"},
    "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    "a/b~c": {"type": "boolean"}
  },
  "$defs": {"item": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}}}}
}`

func compile(tb testing.TB, text string) *schema.Schema {
	tb.Helper()
	s, err := schema.Compile([]byte(text))
	require.NoError(tb, err)
	return s
}

func TestDataIsChecked(t *testing.T) {
	t.Parallel()
	s := compile(t, order)
	for data, want := range map[string][]string{
		`{"id":"AB1","total":1.10}`:                                            nil,
		`{"id":"AB1","total":12345678901234567890.5,"email":"a@b.example"}`:    nil,
		`{"id":"AB1","total":1,"items":[{"sku":"x"},{"sku":"y","count":1.0}]}`: nil,
		`{}`: {`data: lacks "id", "total"`},
		`{"id":"ab","total":-1,"email":"nobody","items":[{"sku":"x"},{"count":1.5}],"x":1,"y":2,"a/b~c":3}`: {
			`data: has "x", "y", which the schema does not know`,
			`data/a~1b~0c: is a number, and must be true or false`,
			`data/email: is not a valid "email"`,
			`data/id: does not match ^[A-Z]{2}[0-9]+$`,
			`data/items/1: lacks "sku"`,
			`data/items/1/count: is a number, and must be a whole number`,
			`data/total: must be at least 0`,
		},
		`[]`:                                      {`data: is a list, and must be an object`},
		`null`:                                    {`data: is null, and must be an object`},
		`{"id":"AB1","id":"AB2","total":1}`:       {`data/id: stands there twice; keep one of them`},
		`{"id":"AB1","total":1e999999999}`:        {`data/total: is a number that cannot be checked; use at most 100 characters and an exponent of at most 400`},
		`{"id":"AB1","total":1,"items":[{"sku"`:   {`data: is not valid JSON: a colon is missing at line 1, column 38`},
		strings.Repeat("[", 65):                   {"data" + strings.Repeat("/0", 64) + `: is nested more than 64 levels deep`},
		`{"id":"AB1","total":1,"\u0078\uD83D":1}`: {`data: has "x\ufffd", which the schema does not know`},
	} {
		var got []string
		for _, p := range s.Check([]byte(data)) {
			got = append(got, p.String())
		}
		assert.Equal(t, want, got, "%s", data)
	}
	var got []string
	for _, p := range s.Check(nil) {
		got = append(got, p.String())
	}
	assert.Equal(t, []string{`data: is null, and must be an object`}, got, "no data at all")
}

// TestEveryMistakeOfASchemaIsTold has mistakes of all kinds in one document.
func TestEveryMistakeOfASchemaIsTold(t *testing.T) {
	t.Parallel()
	_, err := schema.Compile([]byte(`{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "objekt",
  "required": "id",
  "properties": {
    "a": {"$ref": "https://schemas.example.com/money.json"},
    "b": {"$ref": "other.json#/x"},
    "c": {"$ref": "#/$defs/nothing"},
    "d": {"pattern": "(?<!x)y"},
    "e": {"patternProperties": {"(": true}},
    "f": {"pattern": "((a{100}){10}b{1000}){1,1}"},
    "g": {"minLength": -1, "format": 7},
    "h": 5
  }
}`))
	var invalid *schema.InvalidError
	require.ErrorAs(t, err, &invalid)
	got := make([]string, len(invalid.Problems))
	for i, p := range invalid.Problems {
		got[i] = p.String()
	}
	told := strings.Join(got, "\n")
	for _, want := range []string{
		`schema/$schema: is "http://json-schema.org/draft-07/schema#"; only draft 2020-12 is understood`,
		`schema/properties/a/$ref: "https://schemas.example.com/money.json" leads out of the document, and nothing is fetched`,
		`schema/properties/b/$ref: "other.json#/x" leads out of the document`,
		`schema/properties/c/$ref: "#/$defs/nothing" leads to no schema of this document; put it into $defs`,
		`schema/properties/d/pattern: is no regular expression of Go (RE2)`,
		`schema/properties/e/patternProperties/(: is no regular expression of Go (RE2)`,
		`schema/properties/f/pattern: is a regular expression that costs too much to match`,
		`schema/properties/g/minLength: must be at least 0`,
		`schema/properties/h: is a number, and must be an object or true or false`,
		`schema/required: is text, and must be a list`,
		`schema/type: `,
	} {
		assert.Contains(t, told, want)
	}
	assert.ErrorContains(t, err, fmt.Sprintf("the schema is not valid: %d problems\n  ", len(got)))
}

func TestWhatIsNoSchema(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"not":`, 70) + "true" + strings.Repeat("}", 70)
	var many strings.Builder
	for i := range 2100 {
		fmt.Fprintf(&many, `"p%d":{},`, i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":        {" \n", "is empty"},
		"a boolean":      {"true", "is not a JSON object"},
		"no JSON":        {"{\n \"type\": object}", "is not valid JSON: 'o' stands where a value should at line 2, column 10"},
		"twice":          {`{"properties":{"a":{"type":"string","type":"number"}}}`, "schema/properties/a/type: stands there twice"},
		"too long":       {`{"title":"` + strings.Repeat("x", schema.MaxSize) + `"}`, "at most 131072 are accepted"},
		"too deep":       {deep, "is nested more than 64 levels deep"},
		"too many":       {`{"properties":{` + strings.TrimSuffix(many.String(), ",") + `}}`, "consists of 2101 schemas; at most 2000 are accepted"},
		"not UTF-8":      {"{\"title\":\"\xff\"}", "is not UTF-8"},
		"itself":         {`{"$ref":"#"}`, "refers to itself without end"},
		"a circle":       {`{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"$ref":"#/$defs/a"}}}`, "refers to itself without end"},
		"a place":        {`{"$ref":"#/examples/0","examples":[{"type":"string"}]}`, "leads to no schema of this document"},
		"a metaschema":   {`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, "leads out of the document"},
		"a vocabulary":   {`{"$vocabulary":{}}`, "is for schemas of schemas"},
		"a huge bound":   {`{"maximum":1e100000}`, "is a number that cannot be checked"},
		"an inner draft": {`{"$defs":{"a":{"$id":"x","$schema":"http://json-schema.org/draft-04/schema#"}}}`, "only draft 2020-12 is understood"},
		"a long pattern": {`{"pattern":"` + strings.Repeat("a", 1025) + `"}`, "of 1025 characters; at most 1024 are accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.Compile([]byte(c.text))
			var invalid *schema.InvalidError
			require.ErrorAs(t, err, &invalid)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestReferencesInsideADocument(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"by path":    `{"$defs":{"a b/c~":{"type":"string"}},"$ref":"#/$defs/a%20b~1c~0"}`,
		"by anchor":  `{"$defs":{"x":{"$anchor":"text","type":"string"}},"$ref":"#text"}`,
		"by $id":     `{"$id":"https://schemas.example.com/order","$defs":{"x":{"$id":"text","type":"string"}},"$ref":"https://schemas.example.com/text"}`,
		"relative":   `{"$id":"https://schemas.example.com/order","$defs":{"x":{"$id":"text","type":"string"}},"$ref":"text"}`,
		"dynamic":    `{"$defs":{"x":{"$dynamicAnchor":"text","type":"string"}},"$dynamicRef":"#text"}`,
		"old place":  `{"definitions":{"x":{"type":"string"}},"$ref":"#/definitions/x"}`,
		"properties": `{"properties":{"a":{"type":"string"}},"allOf":[{"$ref":"#/properties/a"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, text)
			assert.Empty(t, s.Check([]byte(`"text"`)))
			assert.NotEmpty(t, s.Check([]byte(`1`)))
		})
	}
}

// TestNothingIsFetched has a server that would answer.
func TestNothingIsFetched(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(`{"type":"string"}`))
	}))
	defer server.Close()
	for _, text := range []string{
		`{"$ref":"` + server.URL + `"}`,
		`{"$schema":"` + server.URL + `"}`,
		`{"$id":"` + server.URL + `/a","properties":{"x":{"$ref":"b"}}}`,
		`{"$defs":{"a":{"$id":"` + server.URL + `","$schema":"` + server.URL + `/draft"}}}`,
		`{"$dynamicRef":"` + server.URL + `#x"}`,
		`{"$ref":"file:///etc/hostname"}`,
	} {
		_, err := schema.Compile([]byte(text))
		require.Error(t, err, text)
	}
	assert.Zero(t, asked.Load())
}

// TestWorkIsBounded has schemas and data that would keep a process busy for years.
func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	doubling := `{"$defs":{"n":{"anyOf":[{"properties":{"x":{"$ref":"#/$defs/n"},"y":false},"required":["y"]},{"properties":{"x":{"$ref":"#/$defs/n"},"z":false},"required":["z"]}]}},"$ref":"#/$defs/n"}`
	nested := strings.Repeat(`{"x":`, 60) + "1" + strings.Repeat("}", 60)
	var bomb strings.Builder
	bomb.WriteString(`{"$ref":"#/$defs/d0","$defs":{"d40":{"type":"string"}`)
	for i := range 40 {
		fmt.Fprintf(&bomb, `,"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1)
	}
	bomb.WriteString("}}")
	for name, c := range map[string]struct{ text, data string }{
		"data doubles":         {doubling, nested},
		"expression":           {`{"pattern":"^(([a-z])+.)+[A-Z]([a-z])+$","allOf":[` + strings.TrimSuffix(strings.Repeat(`{"pattern":"(a?){400}b"},`, 20), ",") + `]}`, `"` + strings.Repeat("a", 200<<10) + `"`},
		"expressions of names": {`{"patternProperties":{"(a?){400}b":true}}`, `{"` + strings.Repeat("a", 200<<10) + `":1}`},
		"format with pattern":  {strings.Replace(doubling, `"anyOf"`, `"format":"email","anyOf"`, 1), nested},
		"dependent":            {`{"$defs":{"n":{"dependentSchemas":{"x":{"properties":{"x":{"$ref":"#/$defs/n"}}},"w":{"properties":{"x":{"$ref":"#/$defs/n"}}}}}},"not":{"$ref":"#/$defs/n"}}`, strings.Repeat(`{"w":1,"x":`, 60) + "1" + strings.Repeat("}", 60)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, c.text)
			began := time.Now()
			problems := s.Check([]byte(c.data))
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0].Message, "takes too much work to check")
			assert.Less(t, time.Since(began), 20*time.Second)
		})
	}
	t.Run("schema doubles", func(t *testing.T) {
		t.Parallel()
		_, err := schema.Compile([]byte(bomb.String()))
		require.ErrorContains(t, err, "has so many branches that even empty data takes too much work to check")
	})
	t.Run("large data is fine", func(t *testing.T) {
		t.Parallel()
		s := compile(t, `{"type":"array","items":{"type":"object","properties":{"a":{"type":"integer"}}},"uniqueItems":true}`)
		var data strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&data, `{"a":%d},`, i)
		}
		assert.Empty(t, s.Check([]byte("["+strings.TrimSuffix(data.String(), ",")+"]")))
	})
	t.Run("a checker is good after it was stopped", func(t *testing.T) {
		t.Parallel()
		s := compile(t, doubling)
		require.Len(t, s.Check([]byte(nested)), 1)
		assert.Contains(t, s.Check([]byte(`{"x":1}`))[0].Message, "lacks")
	})
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"type":"array","items":{"type":"string"}}`)
	problems := s.Check([]byte("[" + strings.TrimSuffix(strings.Repeat("1,", 30_000), ",") + "]"))
	require.Len(t, problems, schema.MaxProblems+1)
	assert.Contains(t, problems[schema.MaxProblems].Message, "more problems")
	closed := compile(t, `{"additionalProperties":false}`)
	problems = closed.Check([]byte(`{"` + strings.Repeat("x", 10_000) + "\x7f" + `":1}`))
	require.Len(t, problems, 1)
	assert.Less(t, len(problems[0].String()), 1000)
}

// TestValuesAreNotTold: what is wrong is stored and logged, and data may be nobody else's business.
func TestValuesAreNotTold(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{"a":{"pattern":"^x$"},"b":{"enum":[1]},"c":{"const":1},"d":{"format":"email"},"e":{"maximum":1},"f":{"not":{"type":"string"}},"g":{"oneOf":[{"type":"string"},{"minLength":1}]},"h":{"maxLength":1},"i":{"multipleOf":7}}}`)
	problems := s.Check([]byte(`{"a":"4929","b":"4929","c":"4929","d":"4929","e":4929,"f":"4929","g":"4929","h":"4929","i":4929}`))
	require.Len(t, problems, 9)
	for _, p := range problems {
		assert.NotContains(t, p.String(), "4929")
	}
}

func TestEqualDocuments(t *testing.T) {
	t.Parallel()
	a := compile(t, `{"type":"object","title":"x"}`)
	assert.True(t, a.Equal(compile(t, "\xef\xbb\xbf{ \"title\":\"x\",\n\"type\":\"object\"}")))
	assert.False(t, a.Equal(compile(t, `{"type":"object","title":"y"}`)))
	assert.Equal(t, []byte(`{"title":"x","type":"object"}`), compile(t, "{ \"title\":\"x\",\n\"type\":\"object\"}").Document()) //nolint:testifylint // byte for byte
}

func TestChoicesForAnotherType(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"anyOf":[{"$ref":"#/$defs/word"},{"type":"object","required":["a"]}],"$defs":{"word":{"type":"string","maxLength":1}}}`)
	for data, want := range map[string][]schema.Problem{
		`"xy"`: {{Path: "data", Message: "has 2 characters, and must have at most 1"}},
		`{}`:   {{Path: "data", Message: `lacks "a"`}},
		`1`:    {{Path: "data", Message: "is a number, and must be an object"}, {Path: "data", Message: "is a number, and must be text"}},
	} {
		assert.Equal(t, want, s.Check([]byte(data)), data)
	}
}
