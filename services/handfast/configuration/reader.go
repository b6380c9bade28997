package configuration

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Error is every mistake of one configuration. Nothing has been done yet.
type Error struct {
	// Command is what was to run, for example "signer".
	Command string
	// Mistakes are sentences, each with the place where it was made.
	Mistakes []string
}

// Error lists the mistakes, a line each.
func (e *Error) Error() string {
	count := "1 mistake"
	if n := len(e.Mistakes); n != 1 {
		count = strconv.Itoa(n) + " mistakes"
	}
	return fmt.Sprintf("%s cannot run with this configuration; %s, and nothing was changed:\n  %s",
		e.Command, count, strings.Join(e.Mistakes, "\n  "))
}

// Reader collects the mistakes of one command line. Use it once.
type Reader struct {
	values map[*kong.Value][]string // what is wrong with a value of a flag or a file
	resets map[*kong.Value][]string // what is wrong with a value of the environment, where neither of them gives one
	files  []string                 // what is wrong with files
	lines  map[*kong.Value]string   // the place of a value that a file has given
}

// NewReader makes a reader that has read nothing.
func NewReader() *Reader {
	return &Reader{values: map[*kong.Value][]string{}, resets: map[*kong.Value][]string{}, lines: map[*kong.Value]string{}}
}

// Options make kong note a wrong value here and go on, instead of stopping at the first, and have --help tell the defaults.
func (r *Reader) Options() []kong.Option {
	return []kong.Option{
		kong.Bind(r),
		kong.ValueFormatter(meant),
		kong.KindMapper(reflect.Int, note(r, func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err != nil {
				return 0, fmt.Errorf("%q is not a whole number", text)
			}
			return n, nil
		})),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), note(r, func(text string) (time.Duration, error) {
			d, err := time.ParseDuration(text)
			if err != nil {
				return 0, fmt.Errorf("%q is not a duration such as 30s or 2m", text)
			}
			return d, nil
		})),
	}
}

func note[T any](r *Reader, parse func(string) (T, error)) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("a", &text); err != nil {
			return err //nolint:wrapcheck // kong says which flag has no value
		}
		// kong gives environment and default straight to the field, after the flags; flags and file to a copy.
		notes := r.values
		if target.Addr().Pointer() == ctx.Value.Target.Addr().Pointer() {
			notes = r.resets
		}
		one := target.Type() == ctx.Value.Target.Type()
		if one {
			delete(notes, ctx.Value) // the last one given counts; of a list, every one does
		}
		value, err := parse(text)
		switch {
		case err != nil && ctx.Value.Flag == nil:
			return err // the words of an argument
		case err != nil:
			notes[ctx.Value] = append(notes[ctx.Value], err.Error())
			return nil // noted, so that the next mistake is found, too
		}
		target.Set(reflect.ValueOf(value).Convert(target.Type()))
		return nil
	})
}

// Problems is what a command that knows more than types implements. Each error begins with the flag that it is about, as
// in "--concurrency: must be 1 or more"; the place where its value was given takes the flag's place.
type Problems interface{ Problems() []error }

// Check returns an [*Error] with everything that is wrong with the selected command, its own checks included, or nil.
func (r *Reader) Check(parsed *kong.Context) error {
	node := parsed.Selected()
	if node == nil {
		return nil
	}
	mistakes := slices.Clone(r.files)
	wrong := map[string]bool{}
	places := map[string]string{}
	for _, flag := range flags(parsed) {
		places[flag.Name] = r.place(parsed, flag)
		notes := r.resets
		if slices.ContainsFunc(parsed.Path, func(p *kong.Path) bool { return p.Flag == flag }) {
			notes = r.values
		}
		for _, mistake := range append(notes[flag.Value], least(parsed, flag)...) {
			wrong[flag.Name] = true
			mistakes = append(mistakes, places[flag.Name]+": "+mistake)
		}
	}
	if command, ok := reflect.TypeAssert[Problems](node.Target.Addr()); ok {
		for _, problem := range command.Problems() {
			// An error that joins several is several.
			for line := range strings.SplitSeq(problem.Error(), "\n") {
				name, rest, named := strings.Cut(strings.TrimPrefix(line, "--"), ": ")
				switch {
				case named && wrong[name]: // it could not even be read, so the check saw a value that nobody gave
				case named && strings.HasPrefix(line, "--") && places[name] != "":
					mistakes = append(mistakes, places[name]+": "+rest)
				default:
					mistakes = append(mistakes, line)
				}
			}
		}
	}
	if len(mistakes) == 0 {
		return nil
	}
	return &Error{Command: strings.TrimPrefix(node.Path(), "handfast "), Mistakes: mistakes}
}

// place is where the value of a flag was given.
func (r *Reader) place(parsed *kong.Context, flag *kong.Flag) string {
	for _, path := range parsed.Path {
		if path.Flag == flag && !path.Resolved {
			return "--" + flag.Name
		}
	}
	if env := environment(flag); env != "" {
		return env
	}
	return cmp.Or(r.lines[flag.Value], "--"+flag.Name)
}

// environment is the variable that gives the flag's value; empty when none is set.
func environment(flag *kong.Flag) string {
	for _, env := range flag.Tag.Envs {
		if _, set := os.LookupEnv(env); set {
			return env
		}
	}
	return ""
}

// flags are those of the selected command and of what it is part of.
func flags(ctx *kong.Context) []*kong.Flag {
	var all []*kong.Flag
	for _, path := range ctx.Path {
		all = append(all, path.Flags...)
	}
	return all
}
