package configuration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// File is the flag that names a YAML file of settings. Its keys are the names of the flags, without the dashes.
type File string

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// BeforeResolve reads the file, before the values that flags and environment leave open are filled in. Mistakes go to the
// reader.
func (f File) BeforeResolve(r *Reader, ctx *kong.Context, path *kong.Path) error {
	if !slices.Contains(flags(ctx), path.Flag) {
		return nil // the flag of another command, whose variable is the same
	}
	name, ok := ctx.FlagValue(path.Flag).(File)
	if !ok || name == "" {
		return nil
	}
	text, err := readFile(string(name))
	if err != nil {
		r.files = append(r.files, fmt.Sprintf("%s: %v", r.place(ctx, path.Flag), err))
		return nil
	}
	ctx.AddResolver(r.load(string(name), text, ctx))
	return nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file and what is wrong
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file and what is wrong
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB, which no configuration is", name)
	}
	return text, nil
}

// load turns the file into the values of flags, and notes every key that is none.
func (r *Reader) load(name string, text []byte, ctx *kong.Context) kong.Resolver {
	settings, err := parse(text)
	if err != nil {
		r.files = append(r.files, fmt.Sprintf("%s: %v", name, err))
	}
	known := map[string]*kong.Flag{}
	var names []string
	for _, flag := range flags(ctx) {
		if _, config := reflect.TypeAssert[File](flag.Target); !config && flag.Name != "help" {
			known[flag.Name] = flag
			names = append(names, flag.Name)
		}
	}
	given := map[string]string{}
	for _, s := range settings {
		at := fmt.Sprintf("%s:%d", name, s.line)
		flag := known[s.key]
		if flag == nil {
			r.files = append(r.files, fmt.Sprintf("%s: %q is not a setting%s", at, s.key, suggest(s.key, names)))
			continue
		}
		if _, twice := given[s.key]; twice {
			r.files = append(r.files, fmt.Sprintf("%s: %q is given a second time", at, s.key))
			continue
		}
		value, err := s.text(flag)
		if err != nil {
			r.files = append(r.files, fmt.Sprintf("%s: %s: %v", at, s.key, err))
			continue
		}
		given[s.key] = value
		r.lines[flag.Value] = at + ": " + s.key
	}
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		value, ok := given[flag.Name]
		if !ok || known[flag.Name] != flag || environment(flag) != "" {
			return nil, nil // kong's way to say that the file does not say
		}
		return value, nil
	})
}

// setting is one line of a file.
type setting struct {
	key   string
	line  int
	value *yaml.Node
}

// parse reads a file of settings. An empty one is fine.
func parse(text []byte) ([]setting, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, more yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one document; a configuration is one")
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("must be a list of settings, each as name: value")
	}
	settings := make([]setting, 0, len(root.Content)/2)
	for i := 0; i+1 < len(root.Content); i += 2 {
		settings = append(settings, setting{key: root.Content[i].Value, line: root.Content[i].Line, value: root.Content[i+1]})
	}
	return settings, nil
}

// text is the value as a flag would give it.
func (s setting) text(flag *kong.Flag) (string, error) {
	list := flag.IsSlice()
	switch s.value.Kind {
	case yaml.ScalarNode:
		if s.value.Tag == "!!null" {
			return "", errors.New("has no value; write one, or remove the line")
		}
		if flag.Target.Kind() == reflect.Bool && s.value.Value != "true" && s.value.Value != "false" {
			return "", fmt.Errorf("%q is neither true nor false", s.value.Value)
		}
		if list {
			return kong.JoinEscaped([]string{s.value.Value}, flag.Tag.Sep), nil
		}
		return s.value.Value, nil
	case yaml.SequenceNode:
		if !list {
			return "", errors.New("takes one value, not a list")
		}
		items := make([]string, len(s.value.Content))
		for i, item := range s.value.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return "", fmt.Errorf("item %d of the list is not a plain value", i+1)
			}
			items[i] = item.Value
		}
		return kong.JoinEscaped(items, flag.Tag.Sep), nil
	case yaml.DocumentNode, yaml.MappingNode, yaml.AliasNode:
	}
	return "", errors.New("takes a plain value or a list of them")
}
