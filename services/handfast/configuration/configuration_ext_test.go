package configuration_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/services/handfast/configuration"
)

type sailCommand struct {
	Config configuration.File `env:"HANDFAST_TEST_CONFIG" help:"File."`
	Crew   int                `default:"3" env:"HANDFAST_TEST_CREW" help:"People on board."`
	Watch  time.Duration      `default:"4h" env:"HANDFAST_TEST_WATCH" help:"Time on deck."`
	Port   []string           `env:"HANDFAST_TEST_PORT" help:"Where to call."`
	Pair   []string           `help:"Things with commas." sep:";"`
	Name   string             `default:"Ann" help:"Of the ship."`
	Fast   bool               `help:"Use all sails."`
	Mates  int                `default:"0" help:"Who else." least:"1"`
	Oar    []int              `help:"Lengths."`
	Wind   []wind             `help:"From where."`
}

type wind string

func (w *wind) UnmarshalText(text []byte) error {
	if len(text) != 1 {
		return fmt.Errorf("%q is no wind", text)
	}
	*w = wind(text)
	return nil
}

func (c *sailCommand) Problems() []error {
	if c.Crew < 1 {
		return []error{fmt.Errorf("--crew: %d is too few", c.Crew)}
	}
	return nil
}

func (c *sailCommand) Run() error { return nil }

type table struct {
	Sail sailCommand `cmd:"" help:"Go to sea."`
	Row  struct {
		Config configuration.File `env:"HANDFAST_TEST_CONFIG"`
		Oars   int                `env:"HANDFAST_TEST_CREW"`
	} `cmd:"" help:"Go across."`
}

func read(t *testing.T, arguments ...string) (sailCommand, error) {
	t.Helper()
	var commands table
	reader := configuration.NewReader()
	parser, err := kong.New(&commands, append(reader.Options(), kong.Name("handfast"), kong.Writers(io.Discard, io.Discard), configuration.Text[wind](reader))...)
	require.NoError(t, err)
	parsed, err := parser.Parse(append([]string{"sail"}, arguments...))
	require.NoError(t, err)
	return commands.Sail, reader.Check(parsed)
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	name := file(t, "crew: 5\nwatch: 5m\nport: [Hull, 'Cork, south']\nname: 7\nfast: true\npair:\n  - a=b,c\n  - d=e;f\n")
	t.Setenv("HANDFAST_TEST_CONFIG", name)
	got, err := read(t)
	require.NoError(t, err)
	assert.Equal(t, sailCommand{
		Config: configuration.File(name), Crew: 5, Watch: 5 * time.Minute, Port: []string{"Hull", "Cork, south"},
		Pair: []string{"a=b,c", "d=e;f"}, Name: "7", Fast: true,
	}, got)

	t.Setenv("HANDFAST_TEST_CREW", "6")
	t.Setenv("HANDFAST_TEST_PORT", "Brest,Vigo")
	got, err = read(t, "--watch=7m")
	require.NoError(t, err)
	assert.Equal(t, 6, got.Crew)
	assert.Equal(t, 7*time.Minute, got.Watch)
	assert.Equal(t, []string{"Brest", "Vigo"}, got.Port)

	got, err = read(t, "--crew=8", "--config="+file(t, ""))
	require.NoError(t, err)
	assert.Equal(t, 8, got.Crew)
	assert.Equal(t, 4*time.Hour, got.Watch, "the default, because the flag named another file")
}

func TestEveryMistakeIsToldAtOnce(t *testing.T) {
	for _, test := range []struct {
		name        string
		file        string
		environment map[string]string
		arguments   []string
		want        string
	}{
		{
			name: "each place", file: "crw: 5\nwatch: long\nport: {a: 1}\nname: [a]\nanchor: 1\nfast: maybe\n",
			environment: map[string]string{"HANDFAST_TEST_CREW": "many"},
			want: `sail cannot run with this configuration; 7 mistakes, and nothing was changed:
  FILE:1: "crw" is not a setting; did you mean "crew"?
  FILE:3: port: takes a plain value or a list of them
  FILE:4: name: takes one value, not a list
  FILE:5: "anchor" is not a setting; handfast COMMAND --help lists them
  FILE:6: fast: "maybe" is neither true nor false
  HANDFAST_TEST_CREW: "many" is not a whole number
  FILE:2: watch: "long" is not a duration such as 30s or 2m`,
		},
		{
			name: "a check of the command names the place, too", file: "crew: 0",
			want: "sail cannot run with this configuration; 1 mistake, and nothing was changed:\n  FILE:1: crew: 0 is too few",
		},
		{
			name: "a flag hides a bad variable", file: "", environment: map[string]string{"HANDFAST_TEST_CREW": "many"}, arguments: []string{"--crew=0"},
			want: "sail cannot run with this configuration; 1 mistake, and nothing was changed:\n  --crew: 0 is too few",
		},
		{
			name: "bad flags over good defaults", file: "", arguments: []string{"--crew=x", "--watch=1"},
			want: `sail cannot run with this configuration; 2 mistakes, and nothing was changed:
  --crew: "x" is not a whole number
  --watch: "1" is not a duration such as 30s or 2m`,
		},
		{
			name: "every item of a list, and a number that makes no sense", file: "", arguments: []string{"--wind=north,s", "--wind=west", "--oar=x,2", "--mates=0"},
			want: `sail cannot run with this configuration; 4 mistakes, and nothing was changed:
  --mates: 0 makes no sense; it must be 1 or more, or be left out
  --oar: "x" is not a whole number
  --wind: "north" is no wind
  --wind: "west" is no wind`,
		},
		{
			name: "a number from a file that makes no sense", file: "mates: -1",
			want: "sail cannot run with this configuration; 1 mistake, and nothing was changed:\n  FILE:1: mates: -1 makes no sense; it must be 1 or more, or be left out",
		},
		{
			name: "nulls, repetitions and underscores", file: "crew:\nname: a\nname: b\nport: [[a]]\nfast_: true\n",
			want: `sail cannot run with this configuration; 4 mistakes, and nothing was changed:
  FILE:1: crew: has no value; write one, or remove the line
  FILE:3: "name" is given a second time
  FILE:4: port: item 1 of the list is not a plain value
  FILE:5: "fast_" is not a setting; did you mean "fast"?`,
		},
		{
			name: "not a list of settings", file: "- crew",
			want: "sail cannot run with this configuration; 1 mistake, and nothing was changed:\n  FILE: must be a list of settings, each as name: value",
		},
		{
			name: "two documents", file: "crew: 1\n---\ncrew: 2\n",
			want: "sail cannot run with this configuration; 1 mistake, and nothing was changed:\n  FILE: holds more than one document; a configuration is one",
		},
		{
			name: "the file cannot be set in the file", file: "config: other.yaml\n",
			want: "sail cannot run with this configuration; 1 mistake, and nothing was changed:\n  FILE:1: \"config\" is not a setting; handfast COMMAND --help lists them",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			name := file(t, test.file)
			_, err := read(t, append(test.arguments, "--config="+name)...)
			var mistakes *configuration.Error
			require.ErrorAs(t, err, &mistakes)
			assert.Equal(t, test.want, strings.ReplaceAll(err.Error(), name, "FILE"))
		})
	}
}

func TestAFileThatIsMissingIsAMistakeAmongOthers(t *testing.T) {
	t.Setenv("HANDFAST_TEST_CONFIG", "/nowhere/c.yaml")
	_, err := read(t, "--crew=0")
	require.EqualError(t, err, `sail cannot run with this configuration; 2 mistakes, and nothing was changed:
  HANDFAST_TEST_CONFIG: open /nowhere/c.yaml: no such file or directory
  --crew: 0 is too few`)
}

func TestAVariableOfAnotherCommandIsNoMistake(t *testing.T) {
	var commands table
	reader := configuration.NewReader()
	parser, err := kong.New(&commands, append(reader.Options(), kong.Name("handfast"))...)
	require.NoError(t, err)
	t.Setenv("HANDFAST_TEST_WATCH", "long")
	t.Setenv("HANDFAST_TEST_CONFIG", file(t, "oars: 2"))
	parsed, err := parser.Parse([]string{"row"})
	require.NoError(t, err)
	require.NoError(t, reader.Check(parsed))
	assert.Equal(t, 2, commands.Row.Oars)
}

func TestReferenceShowsEverySetting(t *testing.T) {
	parser, err := kong.New(new(table), append(configuration.NewReader().Options(), kong.Name("handfast"))...)
	require.NoError(t, err)
	page, err := configuration.Reference(parser.Model, "sail")
	require.NoError(t, err)
	assert.Contains(t, page, "\n## handfast sail\n\nGo to sea.\n")
	assert.Contains(t, page, "| `--crew` | `HANDFAST_TEST_CREW` | `3` | People on board. |\n")
	_, err = configuration.Reference(parser.Model, "fly")
	require.EqualError(t, err, `there is no command "fly"`)
}

// FuzzFile holds that no file makes the reader panic, and that what it refuses, it refuses as mistakes.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "crew: 1", "crew: [1, 2]", "a: b: c", "- x", "crew: &a 1\nwatch: *a", "? [a]\n: b", "\x00", "!!binary a: b", "null", "---\n---\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "c.yaml")
		require.NoError(t, os.WriteFile(name, text, 0o600))
		var commands table
		reader := configuration.NewReader()
		parser, err := kong.New(&commands, append(reader.Options(), kong.Name("handfast"), kong.Writers(io.Discard, io.Discard))...)
		require.NoError(t, err)
		parsed, err := parser.Parse([]string{"sail", "--config=" + name})
		if err != nil {
			t.Fatalf("kong itself stopped at %q: %v", text, err)
		}
		var mistakes *configuration.Error
		if err := reader.Check(parsed); err != nil && !errors.As(err, &mistakes) {
			t.Fatalf("%q gives %T", text, err)
		}
	})
}
