package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// flatten lists the causes of a refusal: the branches only say that something below failed.
func flatten(root string, found *jsonschema.ValidationError) []Problem {
	return flattenOnly(root, found, func(jsonschema.ErrorKind) bool { return true })
}

// manyFound bounds the work of telling what is wrong with hostile data.
const manyFound = 20 * MaxProblems

func flattenOnly(root string, found *jsonschema.ValidationError, wanted func(jsonschema.ErrorKind) bool) []Problem {
	var all []Problem
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(all) >= manyFound {
			return
		}
		name, ofName := e.ErrorKind.(*kind.PropertyNames)
		if len(e.Causes) > 0 && !ofName {
			for _, cause := range likely(e) {
				walk(cause)
			}
			return
		}
		if e.ErrorKind == nil || !wanted(e.ErrorKind) {
			return
		}
		text := words(e.ErrorKind)
		if ofName {
			var why []string
			for _, p := range flatten("", &jsonschema.ValidationError{Causes: e.Causes, ErrorKind: &kind.Group{}}) {
				why = append(why, p.Message)
			}
			text = "has a member named " + quote(name.Property) + ", and this name " + strings.Join(why, " and ")
		}
		all = append(all, Problem{pointer(root, e.InstanceLocation), short(text, 300)})
	}
	walk(found)
	return all
}

// likely leaves out those of several choices that are for another type of value altogether, where others are not: they
// say nothing that helps.
func likely(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
	default:
		return e.Causes
	}
	var fitting []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		leaf := cause
		for len(leaf.Causes) == 1 {
			leaf = leaf.Causes[0]
		}
		_, otherType := leaf.ErrorKind.(*kind.Type)
		if !otherType || len(leaf.InstanceLocation) > len(e.InstanceLocation) {
			fitting = append(fitting, cause)
		}
	}
	if len(fitting) == 0 {
		return e.Causes
	}
	return fitting
}

// words says what is wrong. It names members, and never shows a value of the data, which may be nobody else's business.
func words(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "is " + typeWord(k.Got) + ", and must be " + choice(k.Want)
	case *kind.Enum:
		return "must be one of " + values(k.Want)
	case *kind.Const:
		return "must be " + values([]any{k.Want})
	case *kind.Format:
		if strings.HasPrefix(k.Want, stepFormat) {
			return "cannot be checked"
		}
		return "is not a valid " + quote(k.Want)
	case *kind.Required:
		return "lacks " + names(k.Missing)
	case *kind.Dependency:
		return "lacks " + names(k.Missing) + ", which must stand beside " + quote(k.Prop)
	case *kind.DependentRequired:
		return "lacks " + names(k.Missing) + ", which must stand beside " + quote(k.Prop)
	case *kind.AdditionalProperties:
		return "has " + names(k.Properties) + ", which the schema does not know"
	case *kind.FalseSchema:
		return "must not be there"
	case *kind.RefCycle:
		return "refers to itself without end: " + k.KeywordLocation1 + " and " + k.KeywordLocation2
	case *kind.Not:
		return "is what the schema excludes (not)"
	case *kind.OneOf:
		if len(k.Subschemas) == 2 {
			return fmt.Sprintf("fits %d and %d of the choices of oneOf, and must fit one only", k.Subschemas[0]+1, k.Subschemas[1]+1)
		}
		return "fits none of the choices of oneOf"
	case *kind.AnyOf:
		return "fits none of the choices of anyOf"
	}
	return amounts(k)
}

// amounts says what is too little or too much.
func amounts(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.MinProperties:
		return fmt.Sprintf("has %d members, and must have at least %d", k.Got, k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("has %d members, and must have at most %d", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("has %d items, and must have at least %d", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has %d items, and must have at most %d", k.Got, k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("has equal items at %d and %d, and each must be there once", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		return "has no item such as the schema wants (contains)"
	case *kind.MinContains:
		return fmt.Sprintf("has %d items such as the schema wants (contains), and must have at least %d", len(k.Got), k.Want)
	case *kind.MaxContains:
		return fmt.Sprintf("has %d items such as the schema wants (contains), and must have at most %d", len(k.Got), k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("has %d characters, and must have at least %d", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("has %d characters, and must have at most %d", k.Got, k.Want)
	case *kind.Pattern:
		return "does not match " + k.Want
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	}
	return "is not as the schema says (" + strings.Join(k.KeywordPath(), " ") + ")"
}

func typeWord(name string) string {
	switch name {
	case "object":
		return "an object"
	case "array":
		return "a list"
	case "string":
		return "text"
	case "number":
		return "a number"
	case "integer":
		return "a whole number"
	case "boolean":
		return "true or false"
	}
	return name
}

func choice(types []string) string {
	all := make([]string, len(types))
	for i, name := range types {
		all[i] = typeWord(name)
	}
	slices.Sort(all)
	return strings.Join(all, " or ")
}

func names(list []string) string {
	const most = 20
	list = slices.Sorted(slices.Values(list))
	more := len(list) - most
	quoted := make([]string, 0, most)
	for _, name := range list[:min(len(list), most)] {
		quoted = append(quoted, quote(name))
	}
	if more > 0 {
		return strings.Join(quoted, ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(quoted, ", ")
}

func values(list []any) string {
	all := make([]string, 0, len(list))
	for _, value := range list[:min(len(list), 20)] {
		text, err := json.Marshal(value)
		if err != nil {
			text = []byte("something")
		}
		all = append(all, short(string(text), 60))
	}
	return strings.Join(all, ", ")
}

// decimal writes a bound of a schema as people do.
func decimal(bound *big.Rat) string {
	if bound.IsInt() {
		return short(bound.Num().String(), 60)
	}
	text, exact := new(big.Float).SetRat(bound).Float64()
	_ = exact // it is for people
	return fmt.Sprint(text)
}
