package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct {
	JSON bool `help:"Print as JSON."`
}

// build is what the binary knows about itself.
type build struct {
	version, revision, time string
	modified                bool
}

func readBuild() build {
	b := build{version: "(unknown)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.version = info.Main.Version; b.version == "" {
		b.version = "(devel)"
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.revision = setting.Value
		case "vcs.time":
			b.time = setting.Value
		case "vcs.modified":
			b.modified = setting.Value == "true"
		}
	}
	return b
}

// Run prints what this binary was built from.
func (c versionCommand) Run(s streams) error {
	b := readBuild()
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if c.JSON {
		return json.NewEncoder(s.out).Encode(map[string]any{ //nolint:wrapcheck // a writer's own error
			"version": b.version, "revision": b.revision, "time": b.time, "modified": b.modified, "go": runtime.Version(), "platform": platform,
		})
	}
	_, err := fmt.Fprintf(s.out, "handfast %s\n", b.version)
	if err == nil && b.revision != "" {
		_, err = fmt.Fprintf(s.out, "  built from %s of %s (modified: %t)\n", b.revision, b.time, b.modified)
	}
	if err == nil {
		_, err = fmt.Fprintf(s.out, "  %s, %s\n", runtime.Version(), platform)
	}
	return err //nolint:wrapcheck // a writer's own error
}
