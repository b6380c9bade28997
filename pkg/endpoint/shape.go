package endpoint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/handfast/handfast/schemas"
)

// compiledSchema is compiled on first use and never changes.
var compiledSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return schemas.Compile("endpoint")
})

// fault is one finding of the schema, with where it is and what stands there.
type fault struct {
	path  string // as told to people: filter.types[0]
	field string // as in the tables: filter.types[]
	value any
	kind  jsonschema.ErrorKind
}

// checkShape validates the tree against the JSON Schema and tells the findings
// in our own words. It reports whether the schema accepts the tree: some
// findings are left to the next pass.
func checkShape(tree any, found *problems) bool {
	schema, err := compiledSchema()
	if err != nil {
		found.addf("", "cannot be checked, because the built-in schema is broken: %s", err)
		return false
	}
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(tree); err == nil {
		return true
	} else if !errors.As(err, &invalid) {
		found.addf("", "cannot be checked: %s", err)
		return false
	}
	var faults []fault
	collect(tree, invalid, &faults)
	slices.SortStableFunc(faults, func(a, b fault) int {
		return cmp.Or(comparePaths(a.path, b.path), cmp.Compare(rank(a.kind), rank(b.kind)))
	})
	for _, each := range faults {
		each.tell(found)
	}
	return false
}

// collect gathers the leaves: the branches only say that something below failed.
func collect(tree any, invalid *jsonschema.ValidationError, faults *[]fault) {
	for _, cause := range invalid.Causes {
		collect(tree, cause, faults)
	}
	if len(invalid.Causes) > 0 {
		return
	}
	leaf := fault{value: tree, kind: invalid.ErrorKind}
	for _, token := range invalid.InstanceLocation {
		switch parent := leaf.value.(type) {
		case []any:
			index, err := strconv.Atoi(token)
			if err != nil || index < 0 || index >= len(parent) {
				return
			}
			leaf.path, leaf.field, leaf.value = element(leaf.path, index), leaf.field+"[]", parent[index]
		case map[string]any:
			leaf.path, leaf.field, leaf.value = join(leaf.path, token), join(leaf.field, token), parent[token]
		}
	}
	*faults = append(*faults, leaf)
}

// rank decides which of several findings at one path is told.
func rank(k jsonschema.ErrorKind) int {
	switch k.(type) {
	case *kind.Type:
		return 0
	case *kind.MinLength, *kind.MinItems:
		return 1
	case *kind.MaxLength, *kind.MaxItems:
		return 2
	default:
		return 3
	}
}

// tell reports the finding in words. Two kinds are left to the pass that knows
// more: patterns of fields in ownPattern, and repeated items, of which a schema
// shows only the first pair.
func (f fault) tell(found *problems) {
	switch k := f.kind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			path := join(f.path, name)
			found.first(path, "is required: "+rule(join(f.field, name)))
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			found.first(join(f.path, name), unknown(f.field, name))
		}
	case *kind.UniqueItems:
	case *kind.Pattern:
		if !ownPattern(f.field) {
			found.first(f.path, fmt.Sprintf("%s is not allowed: %s", quote(k.Got), rule(f.field)))
		}
	default:
		found.first(f.path, f.words())
	}
}

func (f fault) words() string {
	switch k := f.kind.(type) {
	case *kind.Type:
		return wrongType(f.field, f.value, k)
	case *kind.Enum:
		return notAChoice(f.field, f.value)
	case *kind.Const:
		return notYet()
	case *kind.MinLength:
		return "is empty: " + rule(f.field)
	case *kind.MaxLength:
		return fmt.Sprintf("is %d characters long; at most %d are accepted", k.Got, k.Want)
	case *kind.MinItems:
		return fewItems(f.field, k.Got)
	case *kind.MaxProperties:
		return fmt.Sprintf("has %d entries; at most %d are accepted", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has %d entries; at most %d are accepted", k.Got, k.Want)
	case *kind.Minimum, *kind.Maximum:
		return fmt.Sprintf("%v is out of range: %s", f.value, rule(f.field))
	default:
		return cmp.Or(rule(f.field), "is not as the schema of endpoints says")
	}
}
