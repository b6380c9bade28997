package system

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

// run is one command of the operator's, to its end.
func (g *guarded) run(arguments ...string) (output string, code int) {
	g.t.Helper()
	path := binary(g.t) // compile before the clock runs
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, path, g.flags("operator", arguments...)...)
	command.Dir = g.dir
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		require.NoError(g.t, err)
	}
	return string(out), command.ProcessState.ExitCode()
}

// TestTheOperatorMayDoItsWork runs every command that speaks to NATS as the user that handfast.conf has for people.
func TestTheOperatorMayDoItsWork(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	g := guard(t)
	ca, err := authority.New("Handfast operator test authority")
	require.NoError(t, err)
	certificate, key, err := ca.Client(client)
	require.NoError(t, err)
	file := func(name string) string { return filepath.Join(g.dir, name) }
	require.NoError(t, os.WriteFile(file("identity.pem"), append(certificate, key...), 0o600))
	require.NoError(t, os.WriteFile(file("master.key"), []byte(strings.Repeat("5a", 32)), 0o600))
	do := func(arguments ...string) string {
		t.Helper()
		out, code := g.run(arguments...)
		require.Zero(t, code, "%v:\n%s", arguments, out)
		return out
	}
	do("topology", "apply", "--partitions", "2")
	services := []*process{
		g.launch("signer", "signer", "--http=", "--master-key-file", file("master.key")),
		g.launch("dispatcher", "dispatcher", "--http=", "--id", "d1", "--allow", "127.0.0.0/8", "--identity", "default="+file("identity.pem")),
	}
	hooks := listen(t, ca, map[string][]int{"/good": {204}, "/no": {400, 400, 204}})
	for _, name := range []string{"good", "no"} {
		document, err := json.Marshal(map[string]any{
			"tenant": "acme", "name": name, "url": "https://" + hooks.host + "/" + name, "filter": map[string]any{"types": []string{"com.acme." + name}},
			"tls": map[string]any{"trust": map[string]any{"roots": string(ca.CertificatePEM())}},
		})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file(name+".json"), document, 0o600))
		do("endpoint", "apply", "-f", file(name+".json"))
	}
	assert.Contains(t, do("endpoint", "list"), "acme/good")
	do("endpoint", "get", "acme/good")
	do("endpoint", "pause", "acme/good")
	do("endpoint", "resume", "acme/good")
	publish := []string{"event", "publish", "--tenant", "acme", "--source", "/shop", "--wait", "--data", "{}", "--type"}
	assert.Contains(t, do(append(publish, "com.acme.good")...), "delivered")
	out, code := g.run(append(publish, "com.acme.no")...)
	assert.Equal(t, 1, code, out)
	assert.Contains(t, do("key", "show", "acme/good", "--master-key-file", file("master.key")), "whpk_")
	assert.Contains(t, do("delivery", "list"), "rejected")
	var letter struct {
		Delivery string `json:"delivery"`
	}
	require.NoError(t, json.Unmarshal([]byte(strings.SplitN(do("deadletter", "list", "--json"), "\n", 2)[0]), &letter))
	do("deadletter", "show", letter.Delivery)
	do("delivery", "show", letter.Delivery)
	do("delivery", "replay", letter.Delivery)
	require.Eventually(t, func() bool { return hooks.count("/no") == 2 }, 20*time.Second, 20*time.Millisecond)
	do("deadletter", "replay", letter.Delivery)
	require.Eventually(t, func() bool { return hooks.count("/no") == 3 }, 20*time.Second, 20*time.Millisecond)
	for _, arguments := range [][]string{
		{"list", "acme"}, {"create", "acme/good", "--scheme", "v1"}, {"rotate", "acme/good", "--scheme", "v1"},
	} {
		do(append([]string{"key"}, append(arguments, "--master-key-file", file("master.key"))...)...)
	}
	require.NoError(t, os.WriteFile(file("identity.key"), []byte(strings.Repeat("5b", 32)), 0o600))
	stored := func(arguments ...string) string {
		t.Helper()
		return do(append([]string{"identity"}, append(arguments, "--identity-key-file", file("identity.key"))...)...)
	}
	stored("create", "next", "--san", client)
	assert.Contains(t, do("identity", "list"), "next")
	assert.Contains(t, do("identity", "ca"), "BEGIN CERTIFICATE")
	assert.Contains(t, stored("csr", "bank", "--san", client), "BEGIN CERTIFICATE REQUEST")
	stored("rotate", "default", "--to", "next", "--external")
	assert.Contains(t, do("rotate", "status", "default"), "next")
	do("rotate", "rollback", "default")
	stored("reseal")
	do("endpoint", "delete", "acme/good", "--yes")
	for _, s := range services {
		s.alive()
		assert.NotContains(t, strings.ToLower(s.tail(1<<20)), "permission", s.name)
	}
}
