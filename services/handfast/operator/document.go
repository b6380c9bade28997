package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Source is a text with endpoint documents: JSON, or YAML with "---" between documents.
type Source struct {
	// Name is what people call it: a file's name.
	Name string
	Text []byte
}

// ParseDocuments reads every document of every source. The error holds everything that is wrong with any of them, with
// its source and line; nothing is returned then. Two documents for one endpoint are an error, because the order of files
// would decide.
func ParseDocuments(sources []Source) ([]*endpoint.Endpoint, error) {
	var all []*endpoint.Endpoint
	var problems []error
	from := make(map[endpoint.Key]string)
	for _, source := range sources {
		parts := split(source.Text)
		for _, part := range parts {
			where := source.Name
			if len(parts) > 1 {
				where = fmt.Sprintf("%s, line %d", source.Name, part.line)
			}
			e, err := endpoint.Parse(part.text)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", where, err))
				continue
			}
			if first, twice := from[e.Key()]; twice {
				problems = append(problems, fmt.Errorf("%s: endpoint %s stands in %s already; keep one of them", where, e.Key(), first))
				continue
			}
			from[e.Key()] = where
			all = append(all, e)
		}
		if len(parts) == 0 {
			problems = append(problems, fmt.Errorf("%s: there is no endpoint document in it", source.Name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return all, nil
}

// part is one document, behind as many empty lines as stand before it, so that lines in errors are those of the source.
type part struct {
	line int
	text []byte
}

func split(text []byte) []part {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		return []part{{line: 1, text: text}}
	}
	var parts []part
	line, began := 0, 0
	var current []byte
	flush := func() {
		if !blank(current) {
			padded := append(bytes.Repeat([]byte("\n"), min(began, endpoint.MaxDocumentSize/2)), current...)
			parts = append(parts, part{line: began + 1, text: padded})
		}
		current = nil
	}
	for each := range bytes.Lines(text) {
		line++
		if isSeparator(each) {
			flush()
			began = line
			continue
		}
		current = append(current, each...)
	}
	flush()
	return parts
}

// isSeparator tells a line that begins a YAML document. Text that is part of a value is indented, and the first line of
// PEM goes on after its hyphens.
func isSeparator(line []byte) bool {
	line = bytes.TrimRight(line, " \t\r\n")
	return bytes.Equal(line, []byte("---")) || bytes.HasPrefix(line, []byte("--- #"))
}

// blank is what holds nothing but comments and white space.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// YAML writes a document as people write one: the fields in the order of the manual, and texts of several lines as
// blocks. What it gives can be applied.
func YAML(e *endpoint.Endpoint) ([]byte, error) {
	document, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	var tree map[string]any
	if err := json.Unmarshal(document, &tree); err != nil {
		return nil, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	node, err := yamlNode(tree)
	if err != nil {
		return nil, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(node), encoder.Close()); err != nil {
		return nil, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	return out.Bytes(), nil
}

// fieldOrder is the order of the manual; other fields stand behind, by name.
func fieldOrder(name string) int {
	order := []string{"tenant", "name", "url", "description", "filter", "types", "signature", "schemes", "algorithms", "retiring", "tls", "identity", "trust", "retry", "limits", "paused", "ordered"}
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

func yamlNode(value any) (*yaml.Node, error) {
	node := &yaml.Node{}
	switch value := value.(type) {
	case map[string]any:
		node.Kind = yaml.MappingNode
		for _, name := range sortedFields(value) {
			child, err := yamlNode(value[name])
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, child)
		}
	case []any:
		node.Kind = yaml.SequenceNode
		for _, item := range value {
			child, err := yamlNode(item)
			if err != nil {
				return nil, err
			}
			if strings.Contains(child.Value, "\n") {
				node.Style = 0
			}
			node.Content = append(node.Content, child)
		}
	default:
		if err := node.Encode(value); err != nil {
			return nil, fmt.Errorf("as YAML: %w", err)
		}
	}
	return node, nil
}

func sortedFields(fields map[string]any) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if order := fieldOrder(a) - fieldOrder(b); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	return names
}
