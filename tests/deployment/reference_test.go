package deployment

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sections are the variables that the generated reference has for each command.
func sections(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../services/handfast/CONFIGURATION.md")
	require.NoError(t, err)
	found := map[string][]string{}
	for section := range strings.SplitSeq(string(text), "\n## handfast ") {
		name, rest, _ := strings.Cut(section, "\n")
		found[name] = regexp.MustCompile("`(HANDFAST_[A-Z_]+)`").FindAllString(rest, -1)
		for n, quoted := range found[name] {
			found[name][n] = strings.Trim(quoted, "`")
		}
	}
	require.Contains(t, found, "topology apply")
	found["signer"] = append(found["signer"], "HANDFAST_MASTER_KEY")           // which the page's head has
	found["dispatcher"] = append(found["dispatcher"], "HANDFAST_IDENTITY_KEY") // likewise
	return found
}

// TestEveryVariableIsRead holds the variables against the generated reference. A wrong flag stops a container, and is found
// when it runs; a wrong variable would be silent.
func TestEveryVariableIsRead(t *testing.T) {
	known := sections(t)
	check := func(where, command string, names []string) {
		t.Helper()
		for _, name := range names {
			if strings.HasPrefix(name, "OTEL_") {
				text, err := os.ReadFile("../../pkg/telemetry/doc.go")
				require.NoError(t, err)
				assert.Contains(t, string(text), name+" ", "%s", where)
				continue
			}
			assert.True(t, slices.Contains(known[command], name), "%s: %s is no variable of `handfast %s`", where, name, command)
		}
	}
	services := compose(t).Services
	for name, s := range services {
		switch {
		case s.Image != "handfast":
		case name == "operator": // any command: what some command reads
			for variable := range s.Environment {
				assert.True(t, slices.Contains(slices.Concat(slices.Collect(maps.Values(known))...), variable), variable)
			}
		default:
			check("compose/"+name, commandOf(s.Command), slices.Collect(maps.Keys(s.Environment)))
		}
	}
	for name, o := range workloads(t) {
		spec := o.Spec.Template.Spec.Containers[0]
		var names []string
		for _, v := range spec.Env {
			names = append(names, v.Name)
		}
		if len(spec.EnvFrom) > 0 {
			names = append(names, slices.Collect(maps.Keys(configuration(t)))...)
		}
		assert.NotEmpty(t, names, name)
		check("kubernetes/"+name, commandOf(spec.Args), names)
	}
}

// commandOf is the sub-command of an argument list.
func commandOf(arguments []string) string {
	at := slices.IndexFunc(arguments, func(text string) bool { return strings.HasPrefix(text, "-") })
	if at < 0 {
		at = len(arguments)
	}
	return strings.Join(arguments[:at], " ")
}

// TestNoSecretStandsInAFile looks at everything in the folders for what looks like a key, a hash or a password.
func TestNoSecretStandsInAFile(t *testing.T) {
	secret := regexp.MustCompile(`(?i)(-----BEGIN|\$2[aby]\$\d\d\$|\b[0-9a-f]{32,}\b|\b[A-Za-z0-9+]{40,}={0,2}\b|password: *["']?[a-z0-9]+["']?$|kind: Secret\b|stringData)`)
	for _, folder := range []string{"compose", "kubernetes", "image", "dashboards"} {
		require.NoError(t, filepath.WalkDir(deploy+folder, func(path string, entry fs.DirEntry, err error) error {
			if entry != nil && entry.IsDir() && entry.Name() == "secrets" {
				return filepath.SkipDir // made by whoever tries it here, and ignored by git
			}
			if err != nil || entry.IsDir() || entry.Name() == ".env" {
				return err
			}
			text, err := os.ReadFile(path)
			for line := range strings.Lines(string(text)) {
				assert.NotRegexp(t, secret, strings.TrimSpace(line), path)
			}
			return err
		}))
	}
}
