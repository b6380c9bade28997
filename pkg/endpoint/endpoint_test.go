package endpoint

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/schemas"
)

func TestKnownFieldsAreThoseOfTheSchema(t *testing.T) {
	text, err := schemas.Get("endpoint")
	require.NoError(t, err)
	var schema map[string]any
	require.NoError(t, json.Unmarshal(text, &schema))
	var visited []string
	var visit func(path string, schema map[string]any)
	visit = func(path string, schema map[string]any) {
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return
		}
		assert.Equal(t, false, schema["additionalProperties"], "%q is closed", path)
		visited = append(visited, path)
		names := make([]string, 0, len(properties))
		for name, property := range properties {
			names = append(names, name)
			visit(join(path, name), property.(map[string]any))
		}
		assert.ElementsMatch(t, names, knownFields(path), "fields of %q", path)
	}
	visit("", schema)
	assert.ElementsMatch(t, visited, sections())
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "a", 0}, {"fliter", "filter", 1}, {"mutal", "mutual", 1}, {"ab", "", 2}, {"kitten", "sitting", 3}, {"abcdefgh", "a", 7}} {
		assert.Equal(t, test.want, distance(test.a, test.b), "%s %s", test.a, test.b)
		assert.Equal(t, test.want, distance(test.b, test.a), "%s %s", test.b, test.a)
	}
}

func TestDocumentOfNothingButMistakesIsCheap(t *testing.T) {
	document := `{"filter":{"types":[` + strings.Repeat("1,", 32_000) + `1]}}`
	_, err := Parse([]byte(document))
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	assert.Len(t, invalid.Problems, 32_000+1+1+3, "every item, the length of the list, three required fields")
}

func TestClean(t *testing.T) {
	var found problems
	assert.True(t, found.clean("a"))
	found.addf("a.b[2]", "x")
	for path, want := range map[string]bool{"a": false, "a.b": false, "a.b[2]": false, "a.b[1]": true, "a.bc": true, "a.b[2].c": true} {
		assert.Equal(t, want, found.clean(path), path)
	}
}

func TestRootsAreRead(t *testing.T) {
	a, b, c := root(t, "A"), root(t, "B"), root(t, "C")
	e, err := Parse([]byte(withTrust(t, map[string]any{"roots": []any{"# old\n" + a + "# new\n" + b, c}, "pins": []any{pinA, pinB}})))
	require.NoError(t, err)
	require.Len(t, e.TLS.Trust.Roots, 3)
	assert.Equal(t, "CN=C", e.TLS.Trust.Roots[2].Subject.String())
	assert.Equal(t, []string{"# old\n" + a + "# new\n" + b, c}, e.TLS.Trust.RootsPEM)
	assert.Equal(t, []string{pinA, pinB}, e.TLS.Trust.Pins)
	e, err = Parse([]byte(withTrust(t, map[string]any{"roots": a})))
	require.NoError(t, err)
	assert.Len(t, e.TLS.Trust.Roots, 1)
}

// explodes stands for a defect in the CESQL library.
type explodes struct{}

func (explodes) Evaluate(cloudevents.Event) (any, error) { panic("boom") }

func TestEvaluatorPanicIsAnError(t *testing.T) {
	matched, err := evaluate(explodes{}, cloudevents.New())
	assert.False(t, matched)
	assert.EqualError(t, err, "the CESQL evaluator gave up: boom")
}

func TestCompileAccepts(t *testing.T) {
	for _, expression := range []string{
		"type = 'a'", `type = "it''s"`, "NOT EXISTS x", "a1b2 = 'x' OR (b <> 2 XOR TRUE)", "CONCAT_WS(',', 'a', 'b') LIKE 'a%'",
		"-2147483648 < 1", strings.Repeat("(", maxParentheses) + "TRUE" + strings.Repeat(")", maxParentheses),
	} {
		compiled, err := compile(expression)
		require.NoError(t, err, expression)
		assert.NotNil(t, compiled)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		base, "{}", "tenant: [", `{"tenant":"acme","name":"orders","url":"https://h.example/","limits":{"concurrency":8.0}}`,
		base + "filter: {types: ['a.*', '**'], cesql: \"EXISTS a AND a > 1\"}\nretry: {schedule: [5s]}\n",
		base + "tls: {trust: {roots: '-----BEGIN CERTIFICATE-----'}}\n", "? [a]\n: &x b\n*x : c", "--- !!binary x", "a: !!int x", "\"\\ud800\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		e, err := Parse(document)
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 || e != nil {
				t.Fatalf("an error lists its problems: %v", err)
			}
			if !slices.IsSortedFunc(invalid.Problems, func(a, b Problem) int { return comparePaths(a.Path, b.Path) }) {
				t.Fatalf("problems are sorted: %v", err)
			}
			if !utf8.ValidString(err.Error()) {
				t.Fatalf("an error is text: %q", err)
			}
			_, again := Parse(document)
			assert.Equal(t, err, again)
			return
		}
		canonical, err := e.MarshalJSON()
		require.NoError(t, err)
		second, err := Parse(canonical)
		require.NoError(t, err, "%s", canonical)
		again, err := second.MarshalJSON()
		require.NoError(t, err)
		assert.Equal(t, string(canonical), string(again))
		assert.Equal(t, e.Authority(), second.Authority())
		assert.Equal(t, e.TLS, second.TLS)
	})
}

// matchSlowly is the definition of a match, written for reading.
func matchSlowly(pattern, eventType []string) bool {
	switch {
	case len(pattern) == 0 || len(eventType) == 0:
		return len(pattern) == len(eventType)
	case pattern[0] == "**":
		return true
	case pattern[0] == "*" || pattern[0] == eventType[0]:
		return matchSlowly(pattern[1:], eventType[1:])
	default:
		return false
	}
}

func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"com.acme.order.*", "com.acme.order.created"},
		{"a.**", "a"},
		{"**", "a.b"},
		{"*.*", "a.b"},
		{"a.b", "a.b"},
		{"ord*", "orders"},
		{"a.>", "a.b"},
		{"a..b", "a..b"},
		{"", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, given, eventType string) {
		p, problem := parsePattern(given)
		if problem != "" {
			return
		}
		tokens := strings.Split(eventType, ".")
		if slices.Contains(tokens, "") {
			p.matches(eventType) // no valid type; it must only not panic
			return
		}
		if got, want := p.matches(eventType), matchSlowly(strings.Split(given, "."), tokens); got != want {
			t.Fatalf("%q on %q: %v, want %v", given, eventType, got, want)
		}
		if !strings.Contains(given, "*") && !p.matches(given) {
			t.Fatalf("%q matches itself", given)
		}
	})
}

func FuzzCESQL(f *testing.F) {
	for _, seed := range []string{"type = 'a'", "amount > 100 AND", "type = 't' @", "FOO(1)", "a IN ()", "LEFT(type, 9)", "1/0", "'", "\"", "NOT", "- - 1", "-2147483648 / -1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		if len(expression) > 1024 {
			return
		}
		compiled, err := compile(expression)
		if err != nil {
			return
		}
		event := cloudevents.New()
		event.SetID("1")
		event.SetSource("/s")
		event.SetType("a")
		_, err = evaluate(compiled, event)
		if err != nil && strings.Contains(err.Error(), "gave up") {
			t.Logf("the library panicked: %q: %v", expression, err)
		}
	})
}
