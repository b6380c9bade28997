package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// MaxSize is how many bytes a schema may have.
const MaxSize = 128 << 10

// location is where the library thinks that a document is. Nothing can be fetched from there.
const location = "urn:handfast:document"

// Schema is a document that is ready to check data with. Any number of goroutines may use it.
type Schema struct {
	document  []byte // compact
	canonical []byte
	checkers  sync.Pool
}

// checker is a compiled document with its meter. It does one check at a time.
type checker struct {
	compiled *jsonschema.Schema
	meter    *meter
}

// Compile reads a JSON Schema of draft 2020-12. Every error is an *[InvalidError] with all problems.
func Compile(text []byte) (*Schema, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	invalid := func(problems ...Problem) error { return &InvalidError{Problems: order(problems)} }
	switch {
	case len(text) > MaxSize:
		return nil, invalid(Problem{"schema", fmt.Sprintf("has %d bytes; at most %d are accepted", len(text), MaxSize)})
	case len(bytes.TrimSpace(text)) == 0:
		return nil, invalid(Problem{"schema", "is empty; write a JSON Schema such as {\"type\":\"object\"}"})
	}
	tree, problems := decode(text, "schema")
	if len(problems) > 0 {
		return nil, invalid(problems...)
	}
	if _, ok := tree.(map[string]any); !ok {
		return nil, invalid(Problem{"schema", "is not a JSON object; write a JSON Schema such as {\"type\":\"object\"}"})
	}
	s := &Schema{}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil { // cannot be: it was read
		return nil, invalid(Problem{"schema", err.Error()})
	}
	canonical, err := json.Marshal(tree) // it sorts the names
	if err != nil {
		return nil, invalid(Problem{"schema", err.Error()})
	}
	s.document, s.canonical = compact.Bytes(), canonical

	l := linter{}
	l.document(tree)
	if l.nodes > maxNodes { // more is not worth the work
		return nil, invalid(l.problems...)
	}
	made, more := s.compile(len(l.problems) == 0)
	if problems = slices.Concat(l.problems, more); len(problems) > 0 {
		return nil, invalid(problems...)
	}
	if problem := made.probe(); problem != nil {
		return nil, invalid(*problem)
	}
	s.checkers.Put(made)
	return s, nil
}

// Document returns the schema without white space, byte for byte otherwise as it was written.
func (s *Schema) Document() []byte { return slices.Clone(s.document) }

// Equal reports whether two documents say the same: white space and the order of members do not count.
func (s *Schema) Equal(other *Schema) bool { return bytes.Equal(s.canonical, other.canonical) }

// compile makes a checker. Where the document has been found fit, everything that the library says is a problem; else
// only what it says about the draft's own schema.
func (s *Schema) compile(fit bool) (*checker, []Problem) {
	tree, problems := decode(s.document, "schema")
	if len(problems) > 0 {
		return nil, problems
	}
	m := &meter{left: 1 << 60}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(offline{})
	compiler.UseRegexpEngine(bounded)
	compiler.AssertFormat()
	m.instrument(compiler, tree)
	if err := compiler.AddResource(location, tree); err != nil {
		return nil, []Problem{{"schema", err.Error()}}
	}
	compiled, err := compiler.Compile(location)
	if err == nil {
		return &checker{compiled: compiled, meter: m}, nil
	}
	if rejected, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if found, ok := errors.AsType[*jsonschema.ValidationError](rejected.Err); ok {
			if problems := flattenOnly("schema", found, notTold); len(problems) > 0 || !fit {
				return nil, problems
			}
		}
	}
	if !fit {
		return nil, nil
	}
	return nil, []Problem{{"schema", "cannot be used: " + short(err.Error(), 300)}}
}

// notTold leaves out what the linter has told about regular expressions, in better words.
func notTold(k jsonschema.ErrorKind) bool {
	switch k := k.(type) {
	case *kind.PropertyNames: // those of patternProperties; there are no others
		return false
	case *kind.Format:
		return k.Want != "regex"
	}
	return true
}

// probe finds schemas that refer to themselves without end, or as good as that.
func (c *checker) probe() *Problem {
	for _, value := range []any{nil, true, "", json.Number("0"), []any{}, map[string]any{}} {
		found := c.check(value, func(k jsonschema.ErrorKind) bool { _, cycle := k.(*kind.RefCycle); return cycle })
		switch {
		case len(found) == 0:
		case found[0].Message == tooMuchWork:
			return &Problem{"schema", "has so many branches that even empty data takes too much work to check; make it simpler"}
		default:
			return &Problem{"schema", found[0].Message}
		}
	}
	return nil
}

const tooMuchWork = "takes too much work to check against this schema: make the data smaller, or the schema simpler where it refers to itself"

// Check looks at data and returns everything that is wrong with it, ordered by path; none when nothing is.
func (s *Schema) Check(data []byte) []Problem {
	tree, problems := s.tree(data)
	if len(problems) > 0 {
		return problems
	}
	return s.checkTree(tree)
}

// tree reads data; no data at all is null.
func (*Schema) tree(data []byte) (any, []Problem) {
	if data == nil {
		return nil, nil
	}
	tree, problems := decode(data, "data")
	return tree, order(problems)
}

func (s *Schema) checkTree(tree any) []Problem {
	c, ok := s.checkers.Get().(*checker)
	if !ok {
		var problems []Problem
		if c, problems = s.compile(true); len(problems) > 0 { // cannot be: it compiled before
			return problems
		}
	}
	defer s.checkers.Put(c)
	return order(c.check(tree, nil))
}

// check returns what is wrong, or that part of it that is wanted.
func (c *checker) check(tree any, wanted func(jsonschema.ErrorKind) bool) (problems []Problem) {
	c.meter.left = maxSteps
	defer func() {
		switch stopped := recover().(type) {
		case nil:
		case exhausted:
			problems = []Problem{{"data", tooMuchWork}}
		default:
			panic(stopped)
		}
	}()
	err := c.compiled.Validate(tree)
	if err == nil {
		return nil
	}
	found, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []Problem{{"data", "cannot be checked: " + short(err.Error(), 300)}}
	}
	if wanted == nil {
		return flatten("data", found)
	}
	return flattenOnly("data", found, wanted)
}

// offline refuses every reference that the document itself does not answer.
type offline struct{}

// Load implements jsonschema.URLLoader.
func (offline) Load(address string) (any, error) {
	return nil, fmt.Errorf("%s is not in this document, and nothing is fetched", quote(address))
}

// bounded compiles the regular expressions of schemas, and those in data that a schema wants to be one.
func bounded(expression string) (jsonschema.Regexp, error) {
	if _, err := program(expression); err != nil {
		return nil, err
	}
	return regexp.Compile(expression)
}
