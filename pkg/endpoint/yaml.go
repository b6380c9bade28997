package endpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decodeYAML reads nodes rather than values: only nodes show aliases (a small
// document could otherwise grow without bound), duplicate keys with the path,
// and a second document that would be dropped in silence.
func decodeYAML(document []byte, found *problems) (any, bool) {
	root, err := yamlRoot(document)
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "yaml: ")
		if strings.HasPrefix(reason, "unknown anchor") || strings.Contains(reason, "alphabetic or numeric") {
			reason += " (text that begins with * must stand in quotes)"
		}
		found.addf("", "is not valid YAML: %s", reason)
		return nil, false
	}
	tree, err := yamlWalk{found: found}.value(root, "", 0)
	if err != nil {
		found.addf("", "is not valid YAML: %s", err)
		return nil, false
	}
	return tree, true
}

func yamlRoot(document []byte) (root *yaml.Node, err error) {
	// The YAML reader is a large machine that we feed with foreign text: a
	// defect in it must be an invalid document, not the end of the process.
	defer func() {
		if reason := recover(); reason != nil {
			root, err = nil, fmt.Errorf("the reader gave up: %v", reason)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(document))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return nil, errors.New("there is nothing but comments in it")
	} else if err != nil {
		return nil, err
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, fmt.Errorf("a second document begins at line %d; give one endpoint at a time", second.Line)
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	if first.Kind != yaml.DocumentNode || len(first.Content) != 1 {
		return nil, errors.New("there is no value in it")
	}
	return first.Content[0], nil
}

type yamlWalk struct {
	found *problems
}

func (w yamlWalk) value(node *yaml.Node, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch node.Kind {
	case yaml.MappingNode:
		return w.mapping(node, path, depth)
	case yaml.SequenceNode:
		array := make([]any, 0, len(node.Content))
		for i, item := range node.Content {
			value, err := w.value(item, element(path, i), depth+1)
			if err != nil {
				return nil, err
			}
			array = append(array, value)
		}
		return array, nil
	case yaml.ScalarNode:
		return w.scalar(node, path), nil
	case yaml.AliasNode:
		w.found.first(path, fmt.Sprintf("is a YAML alias (*%s), which is not accepted: write the value out, or put it in quotes if it is text", node.Value))
		return nil, nil //nolint:nilnil // null stands for it
	default:
		return nil, fmt.Errorf("line %d holds something that is no value", node.Line)
	}
}

func (w yamlWalk) mapping(node *yaml.Node, path string, depth int) (any, error) {
	object := make(map[string]any, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("the name of a field at line %d is not plain text", key.Line)
		}
		if key.ShortTag() == "!!merge" {
			return nil, fmt.Errorf("line %d merges another mapping with <<, which is not accepted: write the fields out", key.Line)
		}
		value, err := w.value(node.Content[i+1], join(path, key.Value), depth+1)
		if err != nil {
			return nil, err
		}
		set(object, path, key.Value, value, w.found)
	}
	return object, nil
}

func (w yamlWalk) scalar(node *yaml.Node, path string) any {
	switch tag := node.ShortTag(); tag {
	case "!!str", "!!timestamp":
		return node.Value
	case "!!null":
		w.found.first(path, nullMessage)
		return nil
	case "!!bool", "!!int", "!!float":
		return w.plain(node, path)
	default:
		w.found.first(path, fmt.Sprintf("carries the YAML tag %s, which is not accepted: write the value as plain text", quote(tag)))
		return nil
	}
}

// plain reads what YAML itself takes for a number or a truth value.
func (w yamlWalk) plain(node *yaml.Node, path string) any {
	var value any
	if err := node.Decode(&value); err != nil {
		w.found.first(path, quote(node.Value)+" cannot be read as its YAML tag says")
		return nil
	}
	switch value := value.(type) {
	case bool:
		return value
	case int:
		return int64(value)
	case int64:
		return value
	case float64:
		if math.IsInf(value, 0) || math.IsNaN(value) {
			w.found.first(path, notANumber(node.Value))
			return nil
		}
		return number(path, strconv.FormatFloat(value, 'g', -1, 64), w.found)
	default:
		w.found.first(path, notANumber(node.Value))
		return nil
	}
}
