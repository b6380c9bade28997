package configuration

import (
	"strings"

	"github.com/alecthomas/kong"
)

// meant is what --help says about a flag or an argument: its meaning, and what else it takes to use it.
func meant(value *kong.Value) string {
	var more []string
	if value.HasDefault && value.Default != "" && !value.IsBool() {
		more = append(more, "default "+value.Default)
	}
	for _, name := range value.Tag.Envs {
		more = append(more, "$"+name)
	}
	if len(more) == 0 {
		return value.Help
	}
	text, stopped := strings.CutSuffix(value.Help, ".")
	text += " (" + strings.Join(more, ", ") + ")"
	if stopped {
		text += "."
	}
	return text
}
