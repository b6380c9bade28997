package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/services/handfast/stack"
)

func trust(t *testing.T, dir string, arguments ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	t.Setenv("HANDFAST_DIR", dir)
	t.Setenv("HANDFAST_SERVER", "nats://127.0.0.1:1") // nobody is there
	status = run(t.Context(), append([]string{"trust"}, arguments...), streams{out: &o, err: &e})
	return status, o.String(), e.String()
}

func developmentDir(t *testing.T) (string, *authority.Authority) {
	t.Helper()
	ca, err := authority.New("Handfast development authority")
	require.NoError(t, err)
	text, err := ca.Marshal()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "authority.pem"), text, 0o600))
	return dir, ca
}

func TestTrustKnowsEveryStack(t *testing.T) {
	dir, _ := developmentDir(t)
	for _, name := range stack.Names() {
		arguments := []string{name, "--host", "hooks.example.com"}
		if slices.Contains([]string{"nginx", "caddy", "haproxy", "envoy", "kubernetes-ingress"}, name) {
			arguments = append(arguments, "--upstream", "orders:8080")
		}
		status, out, errs := trust(t, dir, arguments...)
		require.Zero(t, status, "%s: %s", name, errs)
		assert.Contains(t, out, "spiffe://handfast.local/dispatcher", name)
		assert.NotContains(t, out, "PRIVATE KEY-----\nM", name)
		assert.True(t, strings.HasPrefix(out, "-- "))
	}
	status, _, errs := trust(t, dir, "apache")
	assert.Equal(t, 2, status)
	for _, name := range stack.Names() {
		assert.Contains(t, errs, name)
	}
}

func TestTrustTellsEverythingThatIsMissing(t *testing.T) {
	empty := t.TempDir()
	status, out, errs := trust(t, empty, "nginx")
	assert.Equal(t, 1, status)
	assert.Empty(t, out)
	assert.Equal(t, 1, strings.Count(errs, "--ca:"), errs)
	for _, want := range []string{"no configuration for nginx was written", "there is no " + filepath.Join(empty, "authority.pem"), "--host: is needed", "--upstream: is needed"} {
		assert.Contains(t, errs, want)
	}

	dir, _ := developmentDir(t)
	_, out, errs = trust(t, dir, "nginx")
	assert.Empty(t, out)
	assert.Contains(t, errs, "--host: is needed")
	assert.Contains(t, errs, "--upstream: is needed")

	_, _, errs = trust(t, dir, "go", "--host", "x", "--ca", filepath.Join(dir, "authority.pem"))
	assert.Contains(t, errs, "--san: is needed with --ca")
	_, _, errs = trust(t, dir, "go", "--host", "x", "--ca", filepath.Join(dir, "absent"))
	assert.Contains(t, errs, "--ca: read:")
	status, _, errs = trust(t, dir, "go", "--host", "x", "--json", "--out", "x")
	assert.Equal(t, 2, status)
	assert.Contains(t, errs, "--json: prints")
	status, _, errs = trust(t, dir, "go", "--host", "x", "--ca", "x", "--identity", "Default")
	assert.Equal(t, 2, status)
	assert.Contains(t, errs, `--identity: "Default" is not a name`)
	assert.Contains(t, errs, "--identity: says whose CA is meant, and so does --ca")
	status, out, errs = trust(t, dir, "go", "--host", "x", "--identity", "default")
	assert.Equal(t, 1, status, "a stored identity was named, so development is no answer")
	assert.Empty(t, out)
	assert.Contains(t, errs, "no NATS server at nats://127.0.0.1:1")
}

func TestTrustWritesFiles(t *testing.T) {
	dir, ca := developmentDir(t)
	folder := filepath.Join(t.TempDir(), "receiver")
	status, out, errs := trust(t, dir, "go", "--host", "localhost", "--out", folder)
	require.Zero(t, status, errs)
	assert.Equal(t, filepath.Join(folder, "main.go"), strings.Split(out, "\n")[0])
	text, err := os.ReadFile(filepath.Join(folder, "main.go"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `caFile = "`+filepath.Join(folder, "ca.pem")+`"`, "the CA lies where the configuration looks")
	text, err = os.ReadFile(filepath.Join(folder, "ca.pem"))
	require.NoError(t, err)
	assert.Equal(t, string(ca.CertificatePEM()), string(text))

	status, _, _ = trust(t, dir, "go", "--host", "localhost", "--out", folder)
	require.Zero(t, status, "the same again is nothing new")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte("mine"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(folder, "ca.pem")))
	status, out, errs = trust(t, dir, "go", "--host", "localhost", "--out", folder)
	assert.Equal(t, 1, status)
	assert.Empty(t, out)
	assert.Contains(t, errs, "main.go is there, and differs")
	_, err = os.Stat(filepath.Join(folder, "ca.pem"))
	require.ErrorIs(t, err, os.ErrNotExist, "then nothing is written")
}

func TestTrustJSON(t *testing.T) {
	dir, _ := developmentDir(t)
	status, out, errs := trust(t, dir, "node", "--host", "localhost", "--json")
	require.Zero(t, status, errs)
	var printed struct {
		Stack         string            `json:"stack"`
		Configuration string            `json:"configuration"`
		Files         map[string]string `json:"files"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &printed))
	assert.Equal(t, "node", printed.Stack)
	assert.Contains(t, printed.Files, printed.Configuration)
}

func TestTrustAsksTheDeployment(t *testing.T) {
	c := trustCommand{Stack: "go", Host: "x"}
	in, problems := c.input(t.Context(), fake{})
	require.Empty(t, problems)
	assert.Equal(t, "spiffe://production/handfast", in.SAN)
	assert.Equal(t, "the CA", string(in.CA))
	assert.Empty(t, in.Subject, "Go compares the SAN")

	c.Stack = "nginx"
	in, problems = c.input(t.Context(), fake{})
	require.Empty(t, problems)
	assert.Equal(t, "CN=handfast,O=Production", in.Subject)
	c.Subject = "CN=mine"
	in, _ = c.input(t.Context(), fake{})
	assert.Equal(t, "CN=mine", in.Subject)
}

type fake struct{}

func (fake) CA(context.Context) ([]byte, error)  { return []byte("the CA"), nil }
func (fake) SAN(context.Context) (string, error) { return "spiffe://production/handfast", nil }

func (fake) Subject(context.Context) (string, error) { return "CN=handfast,O=Production", nil }
