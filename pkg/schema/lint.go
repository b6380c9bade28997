package schema

import (
	"fmt"
	"maps"
	"net/url"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

const (
	draft = "https://json-schema.org/draft/2020-12/schema"
	// maxNodes is how many schemas one document may consist of, the nested ones included.
	maxNodes = 2000
	// maxExpression is how many characters a regular expression may have, and maxProgram how many instructions: matching
	// takes time in proportion to both the text and the program.
	maxExpression = 1024
	maxProgram    = 2000
)

// keyword says where schemas stand inside a schema.
type keyword uint8

const (
	plain keyword = iota
	one           // a schema
	many          // a list of schemas
	named         // schemas by name
)

// place is the table of draft 2020-12; definitions is what earlier drafts called $defs, and everybody still writes it.
func place(name string) keyword {
	switch name {
	case "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
		"unevaluatedItems", "unevaluatedProperties":
		return one
	case "allOf", "anyOf", "oneOf", "prefixItems":
		return many
	case "$defs", "definitions", "dependentSchemas", "patternProperties", "properties":
		return named
	}
	return plain
}

// linter walks through every schema of a document.
type linter struct {
	problems []Problem
	nodes    int
	path     []string
	known    map[string]bool      // addresses of schemas: <$id>#<JSON pointer> and <$id>#<anchor>
	roots    []root               // resources around the place, the innermost last
	refs     []reference          // to be resolved when all are known
	each     func(map[string]any) // called for every schema, children first
}

type root struct {
	id    string
	depth int // of path
}

type reference struct {
	at, text, target string
}

func (l *linter) reportf(path, format string, args ...any) {
	if len(l.problems) < 4*MaxProblems {
		l.problems = append(l.problems, Problem{path, fmt.Sprintf(format, args...)})
	}
}

func (l *linter) here(more ...string) string {
	return pointer("schema", append(slices.Clip(l.path), more...))
}

// document walks from the outermost schema.
func (l *linter) document(tree any) {
	l.known = make(map[string]bool)
	l.roots = []root{{id: ""}}
	l.schema(tree)
	for _, ref := range l.refs {
		if l.known[ref.target] {
			continue
		}
		if id, _, _ := strings.Cut(ref.target, "#"); id == "" || l.known[id+"#"] {
			l.reportf(ref.at, "%s leads to no schema of this document; put it into $defs", quote(ref.text))
			continue
		}
		l.reportf(ref.at, "%s leads out of the document, and nothing is fetched; copy what it leads to into $defs, and write #/$defs/NAME", quote(ref.text))
	}
	if l.nodes > maxNodes {
		l.reportf("schema", "consists of %d schemas; at most %d are accepted", l.nodes, maxNodes)
	}
}

// schema walks through one. What is neither an object nor a boolean is told by the draft's own schema.
func (l *linter) schema(tree any) {
	l.nodes++
	object, ok := tree.(map[string]any)
	if !ok {
		if _, ok := tree.(bool); ok {
			l.note()
		}
		return
	}
	if l.nodes > maxNodes {
		return
	}
	if id, ok := object["$id"].(string); ok {
		l.roots = append(l.roots, root{id: l.resolve(id), depth: len(l.path)})
		defer func() { l.roots = l.roots[:len(l.roots)-1] }()
	}
	l.note()
	l.keywords(object)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		l.path = append(l.path, name)
		l.inside(place(name), object[name])
		l.path = l.path[:len(l.path)-1]
	}
	if l.each != nil {
		l.each(object)
	}
}

func (l *linter) inside(kind keyword, value any) {
	descend := func(name string, schema any) {
		l.path = append(l.path, name)
		l.schema(schema)
		l.path = l.path[:len(l.path)-1]
	}
	switch kind {
	case plain:
	case one:
		l.schema(value)
	case many:
		all, _ := value.([]any)
		for i, schema := range all {
			descend(strconv.Itoa(i), schema)
		}
	case named:
		all, _ := value.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			descend(name, all[name])
		}
	}
}

// note makes the place known under every resource around it.
func (l *linter) note() {
	for _, r := range l.roots {
		l.known[r.id+"#"+exact(l.path[r.depth:])] = true
	}
}

// exact is a JSON Pointer that is not made for reading.
func exact(path []string) string {
	var out strings.Builder
	for _, token := range path {
		out.WriteByte('/')
		out.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return out.String()
}

// resolve writes an address in full.
func (l *linter) resolve(ref string) string {
	base := l.roots[len(l.roots)-1].id
	text, _, _ := strings.Cut(ref, "#")
	if text == "" {
		return base
	}
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	if b, err := url.Parse(base); err == nil && base != "" {
		return b.ResolveReference(u).String()
	}
	return u.String()
}

// keywords looks at what the draft's own schema cannot judge.
func (l *linter) keywords(object map[string]any) {
	if d, ok := object["$schema"].(string); ok && strings.TrimSuffix(d, "#") != draft {
		l.reportf(l.here("$schema"), "is %s; only draft 2020-12 is understood: %s", quote(d), draft)
	}
	if _, ok := object["$vocabulary"]; ok {
		l.reportf(l.here("$vocabulary"), "is for schemas of schemas; remove it")
	}
	for _, name := range []string{"$anchor", "$dynamicAnchor"} {
		if anchor, ok := object[name].(string); ok {
			l.known[l.roots[len(l.roots)-1].id+"#"+anchor] = true
		}
	}
	for _, name := range []string{"$ref", "$dynamicRef"} {
		if ref, ok := object[name].(string); ok {
			l.reference(name, ref)
		}
	}
	if expression, ok := object["pattern"].(string); ok {
		l.expression(expression, "pattern")
	}
	if patterns, ok := object["patternProperties"].(map[string]any); ok {
		for _, expression := range slices.Sorted(maps.Keys(patterns)) {
			l.expression(expression, "patternProperties", expression)
		}
	}
}

func (l *linter) reference(name, ref string) {
	_, fragment, _ := strings.Cut(ref, "#")
	if plain, err := url.PathUnescape(fragment); err == nil {
		fragment = plain
	}
	l.refs = append(l.refs, reference{at: l.here(name), text: ref, target: l.resolve(ref) + "#" + fragment})
}

func (l *linter) expression(expression string, at ...string) {
	if _, err := program(expression); err != nil {
		l.reportf(l.here(at...), "%s", err)
	}
}

// program tells how many instructions a regular expression compiles to.
func program(expression string) (int, error) {
	if len(expression) > maxExpression {
		return 0, fmt.Errorf("is a regular expression of %d characters; at most %d are accepted", len(expression), maxExpression)
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("is no regular expression of Go (RE2), which knows neither lookaround nor backreferences: %w", err)
	}
	compiled, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, fmt.Errorf("is no regular expression of Go (RE2): %w", err)
	}
	if len(compiled.Inst) > maxProgram {
		return 0, fmt.Errorf("is a regular expression that costs too much to match: %d steps for each character, and at most %d are accepted; make its repetitions smaller", len(compiled.Inst), maxProgram)
	}
	return len(compiled.Inst), nil
}
