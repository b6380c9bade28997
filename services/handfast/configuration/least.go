package configuration

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/alecthomas/kong"
)

// Text has a wrong value of a type that reads itself noted by the reader, as one of a number is. Use it with flags that
// have no environment variable.
func Text[T any, P interface {
	*T
	encoding.TextUnmarshaler
}](r *Reader) kong.Option {
	return kong.TypeMapper(reflect.TypeFor[T](), note(r, func(text string) (T, error) {
		var value T
		err := P(&value).UnmarshalText([]byte(text))
		return value, err //nolint:wrapcheck // says what and what to do
	}))
}

// least says what is wrong with a number that was given and is below the tag `least:"N"` of its flag. The default may be
// below: it stands for what nobody has given.
func least(parsed *kong.Context, flag *kong.Flag) []string {
	bound, err := strconv.ParseInt(flag.Tag.Get("least"), 10, 64)
	given := environment(flag) != "" || slices.ContainsFunc(parsed.Path, func(p *kong.Path) bool { return p.Flag == flag })
	if err != nil || !given || flag.Target.Kind() != reflect.Int || flag.Target.Int() >= bound {
		return nil
	}
	return []string{fmt.Sprintf("%d makes no sense; it must be %d or more, or be left out", flag.Target.Int(), bound)}
}
