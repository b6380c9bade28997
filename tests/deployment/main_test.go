// Package deployment holds what deploy/ has for containers against the code: every container of deploy/compose and
// deploy/kubernetes is started for real, as a process with exactly the arguments, variables and secrets that its file gives
// it, on a NATS server that is configured as its file says. No container engine is needed, and none is tried: what an image
// registry, a kernel or a cluster makes of the files is not shown here.
package deployment

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// deploy is where the files are, seen from here.
const deploy = "../../deploy/"

// ownBinary, in the environment, names a handfast binary to test in place of one built from the tree, as in tests/system.
const ownBinary = "HANDFAST_SYSTEM_BINARY"

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built is the handfast binary, compiled at most once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary gives the path of the handfast command.
func binary(t *testing.T) string {
	t.Helper()
	if own := os.Getenv(ownBinary); own != "" {
		return own
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "handfast-deployment-"); built.err != nil { //nolint:usetesting // all tests use it; TestMain removes it
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		// Without what debuggers read, as in the image, linking takes half as long.
		out, err := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", filepath.Join(built.dir, "handfast"), "../../services/handfast").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	require.NoError(t, built.err)
	return filepath.Join(built.dir, "handfast")
}

// file reads one of deploy/.
func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(deploy + name)
	require.NoError(t, err)
	return string(text)
}

// parse reads each document of a YAML file of deploy/.
func parse[T any](t *testing.T, name string) []T {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(file(t, name)))
	var all []T
	for {
		var one T
		err := decoder.Decode(&one)
		if err != nil {
			require.EqualError(t, err, "EOF", name)
			return all
		}
		all = append(all, one)
	}
}
