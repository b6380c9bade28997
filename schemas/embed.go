package schemas

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const suffix = ".schema.json"

//go:embed *.schema.json
var files embed.FS

// Names lists the schemas, sorted: "endpoint" stands for endpoint.schema.json.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil // an embedded root directory can always be read
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), suffix))
	}
	slices.Sort(names)
	return names
}

// Get returns the text of the schema, byte for byte as in this folder. The
// caller owns the slice. An unknown name is an error that lists the known ones.
func Get(name string) ([]byte, error) {
	text, err := files.ReadFile(name + suffix)
	if err != nil {
		return nil, fmt.Errorf("schemas: there is no schema %q; there are %s", name, strings.Join(Names(), ", "))
	}
	return text, nil
}

// Compile returns the schema ready to validate with; it is safe for concurrent
// use. Compiling takes about a millisecond, so keep the result. An error is a
// defect of the schema itself or an unknown name.
func Compile(name string) (*jsonschema.Schema, error) {
	if _, err := Get(name); err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(offline{})
	var location string
	for _, each := range Names() {
		id, err := add(compiler, each)
		if err != nil {
			return nil, err
		}
		if each == name {
			location = id
		}
	}
	schema, err := compiler.Compile(location)
	if err != nil {
		return nil, fmt.Errorf("schemas: %s%s does not compile: %w", name, suffix, err)
	}
	return schema, nil
}

// add registers one schema under its own $id, so that others can refer to it.
func add(compiler *jsonschema.Compiler, name string) (id string, err error) {
	text, err := Get(name)
	if err != nil {
		return "", err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return "", fmt.Errorf("schemas: %s%s is not JSON: %w", name, suffix, err)
	}
	object, _ := document.(map[string]any)
	if id, _ = object["$id"].(string); id == "" {
		return "", fmt.Errorf("schemas: %s%s has no $id", name, suffix)
	}
	if err := compiler.AddResource(id, document); err != nil {
		return "", fmt.Errorf("schemas: %s%s: %w", name, suffix, err)
	}
	return id, nil
}

// offline refuses every reference that the embedded files do not answer.
type offline struct{}

// Load implements jsonschema.URLLoader.
func (offline) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not one of the embedded schemas, and nothing is fetched", url)
}
