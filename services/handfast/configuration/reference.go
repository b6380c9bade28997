package configuration

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// Reference writes the settings of commands as Markdown, a section for each. The commands are named by their paths, for
// example "topology apply". A path that is no command is an error.
func Reference(model *kong.Application, commands ...string) (string, error) {
	var b strings.Builder
	for _, path := range commands {
		node := find(model.Node, strings.Fields(path))
		if node == nil {
			return "", fmt.Errorf("there is no command %q", path)
		}
		fmt.Fprintf(&b, "\n## handfast %s\n\n%s\n\n", path, strings.TrimSuffix(node.Help, ".")+".")
		b.WriteString("| flag | environment | default | meaning |\n|---|---|---|---|\n")
		var file bool
		for _, group := range node.AllFlags(true) {
			for _, flag := range group {
				if flag.Name == "help" {
					continue
				}
				_, config := reflect.TypeAssert[File](flag.Target)
				file = file || config
				fmt.Fprintf(&b, "| `--%s` | %s | %s | %s |\n", flag.Name, codes(flag.Envs), code(flag.Default), meaning(flag))
			}
		}
		if file {
			b.WriteString("\nEach of them, `--config` itself apart, may stand in the file as `name: value`, where `name` is the flag without its dashes.\n")
		}
	}
	return b.String(), nil
}

func find(node *kong.Node, path []string) *kong.Node {
	if len(path) == 0 {
		return node
	}
	for _, child := range node.Children {
		if child.Name == path[0] {
			return find(child, path[1:])
		}
	}
	return nil
}

func meaning(flag *kong.Flag) string {
	text := strings.ReplaceAll(flag.Help, "|", "\\|")
	if flag.IsSlice() {
		text += " A list in the file; in the environment, items are separated with `" + string(flag.Tag.Sep) + "`."
	}
	return text
}

func codes(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = code(name)
	}
	return strings.Join(quoted, ", ")
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
