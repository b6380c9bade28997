package stack_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/services/handfast/stack"
)

func FuzzRender(f *testing.F) {
	for _, name := range stack.Names() {
		f.Add(name, san, "hooks.example.com", "orders:80", "CN=x", ":443", "/a")
	}
	ca, err := os.ReadFile("testdata/ca.pem")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, name, san, host, upstream, subject, listen, path string) {
		out, err := stack.Render(name, stack.Input{CA: ca, SAN: san, Host: host, Upstream: upstream, Subject: subject, Listen: listen, CAFile: path})
		if err != nil {
			return
		}
		text := out.Files[out.Config]
		golden, err := stack.Render(name, stack.Input{CA: ca, SAN: "a", Host: "b", Upstream: keep(upstream, "c:1"), Subject: keep(subject, "CN=d"), Listen: keep(listen, listen), CAFile: keep(path, "/e")})
		require.NoError(t, err)
		// Values are words within lines: they never add one.
		assert.Equal(t, strings.Count(golden.Files[golden.Config], "\n"), strings.Count(text, "\n"))
	})
}

func keep(given, otherwise string) string {
	if given == "" {
		return ""
	}
	return otherwise
}
