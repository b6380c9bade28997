package deployment

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestImage(t *testing.T) {
	text := file(t, "image/Dockerfile")
	module, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	require.NotNil(t, version)
	assert.Contains(t, text, "FROM golang:"+string(version[1])+" AS build\n")
	assert.Regexp(t, `(?m)^RUN CGO_ENABLED=0 go build .*-o /handfast \./services/handfast$`, text)
	last := text[regexp.MustCompile(`(?m)^FROM scratch$`).FindStringIndex(text)[0]:]
	assert.Regexp(t, `(?m)^USER [1-9]\d*:[1-9]\d*$`, last, "a number, which Kubernetes can check, and not root's")
	assert.Contains(t, last, `ENTRYPOINT ["/handfast"]`, "the arguments of a container begin with the sub-command")
	assert.Contains(t, last, "/etc/ssl/certs/ca-certificates.crt")
	assert.NotContains(t, last, "RUN", "there is no shell")
}

// TestTheBinaryCanBeStatic asks whether every package has files without cgo. Building it would take too long here.
func TestTheBinaryCanBeStatic(t *testing.T) {
	command := exec.CommandContext(t.Context(), "go", "list", "-deps", "../../services/handfast")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.NotContains(t, string(out), "runtime/cgo")
}
