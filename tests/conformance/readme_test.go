package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shownProducer is a marker of README.md and, when one follows at once, its code block.
var shownProducer = regexp.MustCompile("(?m)^<!-- producer: ([^ ]+) -->\n(?:\n*```[a-z]+\n((?s:.*?))\n```$)?")

// producersIn are the code blocks of a page behind their markers; empty for a marker without one.
func producersIn(page string) map[string]string {
	all := make(map[string]string)
	for _, found := range shownProducer.FindAllStringSubmatch(page, -1) {
		all[found[1]] = found[2]
	}
	return all
}

// shown is a file as a reader needs it: without the line that keeps it out of the package.
func shown(text string) string {
	return strings.TrimSpace(strings.TrimPrefix(text, "//go:build ignore\n"))
}

func TestProducersInAPage(t *testing.T) {
	page := "text\n<!-- producer: a.sh -->\n\n```sh\nfirst\n\nsecond\n```\n\n<!-- producer: b.mjs -->\n\ntext\n\n```js\nnot it\n```\n<!-- producer: main.go -->\n```go\npackage main\n```\n"
	assert.Equal(t, map[string]string{"a.sh": "first\n\nsecond", "b.mjs": "", "main.go": "package main"}, producersIn(page))
	assert.Equal(t, "package main", shown("//go:build ignore\n\npackage main\n"))
}

// TestREADMEShowsTheProducers holds README.md to the files that the tests run.
func TestREADMEShowsTheProducers(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	blocks := producersIn(string(page))
	files, err := filepath.Glob("producer/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, filepath.Base(file))
	}
	for name := range blocks {
		assert.Contains(t, names, name, "README.md shows a producer that no test runs")
	}
	for i, file := range files {
		t.Run(names[i], func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NotEmpty(t, shown(string(text)))
			assert.Equal(t, shown(string(text)), blocks[names[i]], "README.md differs from tests/conformance/%s: copy the file into it", file)
		})
	}
}
