package schema

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	// maxSteps is how much work one check may be: some tenths of a second. A list of 100,000 numbers needs a third of it;
	// schemas that refer to themselves in several branches can double the work with every level.
	maxSteps = 300_000
	// stepFormat is the name of a format that counts instead of checking. Every schema gets it, because the library has
	// no bound of its own and asks a format before it looks at anything below.
	stepFormat = "handfast-step"
	// instructionsPerStep makes the work of regular expressions comparable to the other steps.
	instructionsPerStep = 64
	// membersPerStep, itemsPerStep and bytesPerStep do so for what the library does with every value that it looks at,
	// whatever the schema says: it goes over all members, lists what is not evaluated yet, and copies texts.
	membersPerStep = 8
	itemsPerStep   = 8
	bytesPerStep   = 512
)

// meter counts the steps of one check at a time.
type meter struct{ left int }

// exhausted ends a check in the middle; the library has no other way out.
type exhausted struct{}

func (m *meter) spend(steps int) {
	if m.left -= steps; m.left < 0 {
		panic(exhausted{})
	}
}

// instrument makes every schema of the tree count, in place. The formats go to the compiler.
func (m *meter) instrument(compiler *jsonschema.Compiler, tree any) {
	compiler.RegisterFormat(&jsonschema.Format{Name: stepFormat, Validate: func(value any) error {
		m.spend(1 + girth(value))
		return nil
	}})
	special := 0
	l := linter{each: func(object map[string]any) {
		if own, ok := object["format"]; ok {
			all, list := object["allOf"].([]any)
			if _, text := own.(string); !text || (!list && object["allOf"] != nil) {
				return // the draft's own schema refuses it
			}
			object["allOf"] = append(slices.Clip(all), map[string]any{"format": own})
		}
		object["format"] = stepFormat
		cost := costOf(object)
		if cost == nil {
			return
		}
		special++
		name := stepFormat + "-" + strconv.Itoa(special)
		compiler.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(value any) error {
			m.spend(1 + girth(value) + cost(value))
			return nil
		}})
		object["format"] = name
	}}
	l.document(tree)
}

// girth is what looking at a value costs, without what is below it.
func girth(value any) int {
	switch value := value.(type) {
	case map[string]any:
		return len(value) / membersPerStep
	case []any:
		return len(value) / itemsPerStep
	case string:
		return len(value) / bytesPerStep
	}
	return 0
}

// required counts the names that a schema requires, which are looked up one by one and listed where they are missing.
func required(object map[string]any) int {
	all, _ := object["required"].([]any)
	n := len(all)
	beside, _ := object["dependentRequired"].(map[string]any)
	for _, each := range beside {
		list, _ := each.([]any)
		n += 1 + len(list)
	}
	return n
}

// costOf tells what a schema costs besides the schemas below it; nil for nothing worth counting.
func costOf(object map[string]any) func(any) int {
	var costs []func(any) int
	if expression, ok := object["pattern"].(string); ok {
		length, _ := program(expression)
		costs = append(costs, func(value any) int {
			text, _ := value.(string)
			return len(text) * length / instructionsPerStep
		})
	}
	if patterns, ok := object["patternProperties"].(map[string]any); ok && len(patterns) > 0 {
		length := 0
		for expression := range patterns {
			each, _ := program(expression)
			length += each
		}
		costs = append(costs, func(value any) int {
			members, _ := value.(map[string]any)
			all := 0
			for name := range members {
				all += len(name)
			}
			return all * length / instructionsPerStep
		})
	}
	if choices, ok := object["enum"].([]any); ok {
		costs = append(costs, func(any) int { return len(choices) / 8 })
	}
	for _, name := range []string{"uniqueItems", "const", "enum"} {
		if _, ok := object[name]; ok { // everything inside is compared
			costs = append(costs, func(value any) int { return size(value) / 4 })
			break
		}
	}
	if names := required(object) / membersPerStep; names > 0 {
		costs = append(costs, func(value any) int {
			if _, ok := value.(map[string]any); !ok {
				return 0
			}
			return names
		})
	}
	if format, ok := object["format"].(string); ok && format != stepFormat {
		costs = append(costs, func(value any) int {
			text, _ := value.(string)
			return len(text)
		})
	}
	if len(costs) == 0 {
		return nil
	}
	return func(value any) (all int) {
		for _, cost := range costs {
			all += cost(value)
		}
		return all
	}
}

// size counts the values inside a value.
func size(value any) int {
	n := 1
	switch value := value.(type) {
	case map[string]any:
		for _, each := range value {
			n += size(each)
		}
	case []any:
		for _, each := range value {
			n += size(each)
		}
	case string:
		n += len(value) / 16
	case json.Number:
		n += 2
	}
	return n
}
