package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/services/handfast/configuration"
)

var update = flag.Bool("update", false, "write the configuration reference anew")

const referenceHead = `# Configuration

This page is made from the structs that the command reads. After a change of those, make it anew:
` + "`go test ./services/handfast -run Reference -update`" + `.

A flag wins over the environment, the environment over the file that ` + "`--config`" + ` names, and the file over the default. A
configuration with mistakes is refused as a whole, with every mistake in it, and the exit status 2.

Three things come from the environment only: ` + "`HANDFAST_MASTER_KEY`" + `, the signer's master key itself in place of
` + "`--master-key-file`" + ` (wrapped, beside ` + "`--master-key-kms`" + `); ` + "`HANDFAST_IDENTITY_KEY`" + `, likewise the dispatcher's in place of
` + "`--identity-key-file`" + `; and the ` + "`OTEL_…`" + ` variables that say where traces go, which
[pkg/telemetry/doc.go](../../pkg/telemetry/doc.go) lists. Secrets are never flags: every process of a machine can read
those of the others.
`

func TestReferenceIsTrue(t *testing.T) {
	parser, err := newParser(t.Context(), configuration.NewReader(), streams{out: io.Discard, err: io.Discard}, func(int) {})
	require.NoError(t, err)
	page, err := configuration.Reference(parser.Model, "signer", "dispatcher", "topology apply", "dev")
	require.NoError(t, err)
	page = referenceHead + page
	if *update {
		require.NoError(t, os.WriteFile("CONFIGURATION.md", []byte(page), 0o644))
	}
	stored, err := os.ReadFile("CONFIGURATION.md")
	require.NoError(t, err)
	assert.Equal(t, page, string(stored), "make it anew: go test ./services/handfast -run Reference -update")
}

func TestBadConfigurations(t *testing.T) {
	for _, test := range []struct {
		name, command, file string
		environment         map[string]string
		want                string
	}{
		{
			name: "a signer from every place", command: "signer --config FILE --nats-user x",
			file:        "concurency: 4\nserver: [nats://a, b]\nlog-level: loud\nlog-format: xml\nprevious-master-key-file: /nowhere/old\n",
			environment: map[string]string{"HANDFAST_CONCURRENCY": "many", "HANDFAST_HTTP": "9464", "HANDFAST_MASTER_KEY": "short", "OTEL_TRACES_EXPORTER": "fax"},
			want: `handfast: signer cannot run with this configuration; 10 mistakes, and nothing was changed:
  FILE:1: "concurency" is not a setting; did you mean "concurrency"?
  HANDFAST_CONCURRENCY: "many" is not a whole number
  FILE:2: server: "b" has no scheme; write nats://HOST:PORT
  --nats-user: needs the password in a file: --nats-password-file
  FILE:4: log-format: log format "xml" is unknown; use text or json
  FILE:3: log-level: "loud" is unknown; use debug, info, warn or error
  HANDFAST_HTTP: "9464" is not HOST:PORT, for example 127.0.0.1:9464
  OTEL_TRACES_EXPORTER: exporter "fax" is not built in; use otlp or none
  HANDFAST_MASTER_KEY: invalid master key: it is neither base64 nor hexadecimal
  FILE:5: previous-master-key-file: invalid master key: open /nowhere/old: no such file or directory
  handfast signer --help tells about each.
`,
		},
		{
			name: "a signer without a key", command: "signer --concurrency 0",
			want: `handfast: signer cannot run with this configuration; 2 mistakes, and nothing was changed:
  --master-key-file: is needed, or the key itself in HANDFAST_MASTER_KEY; ` + "`openssl rand -hex 32`" + ` makes one
  --concurrency: 0 is not in 1 to 4096
  handfast signer --help tells about each.
`,
		},
		{
			name: "a signer with two keys", command: "signer --master-key-file /nowhere/key", environment: map[string]string{"HANDFAST_MASTER_KEY": strings.Repeat("ab", 32)},
			want: `handfast: signer cannot run with this configuration; 1 mistake, and nothing was changed:
  --master-key-file: the key stands in HANDFAST_MASTER_KEY already; give one of them
  handfast signer --help tells about each.
`,
		},
		{
			name:        "a dispatcher",
			command:     "dispatcher --identity x --identity a=/nowhere/b,/nowhere/c --slots 1 --freshness 1s --lease 1h --allow x --allow y --drain-timeout=-1s",
			environment: map[string]string{"HANDFAST_ID": "a b"},
			want: `handfast: dispatcher cannot run with this configuration; 9 mistakes, and nothing was changed:
  HANDFAST_ID: "a b" must be 1 to 64 letters, digits, '-' or '_'
  --identity: "x" is not NAME=CERTIFICATE,KEY
  --identity: "a": client identity "a": stat /nowhere/b: no such file or directory; stat /nowhere/c: no such file or directory
  --allow: allowed range "x": is neither an address nor a prefix such as 10.20.0.0/16
  --allow: allowed range "y": is neither an address nor a prefix such as 10.20.0.0/16
  --slots: 1 is not in 512 to 65536
  --freshness: 1s is not in 10s to 4m0s
  --lease: 1h0m0s is not in 3s to 1m0s
  --drain-timeout: -1s is not in 0s to 5m0s
  handfast dispatcher --help tells about each.
`,
		},
		{
			name: "a dispatcher without an identity", command: "dispatcher",
			want: `handfast: dispatcher cannot run with this configuration; 1 mistake, and nothing was changed:
  --identity: is needed, or --identity-key-file for stored identities: a dispatcher without a client certificate can deliver nothing
  handfast dispatcher --help tells about each.
`,
		},
		{
			name: "development", command: "dev --listen 0.0.0.0:4222 --http x --allow 1.2.3 --log-level loud",
			want: `handfast: dev cannot run with this configuration; 4 mistakes, and nothing was changed:
  --http: "x" is not HOST:PORT, for example 127.0.0.1:9464
  --listen: "0.0.0.0" is not a loopback address such as 127.0.0.1; this server has no users and must stay on this machine
  --allow: allowed range "1.2.3": is neither an address nor a prefix such as 10.20.0.0/16
  --log-level: "loud" is unknown; use debug, info, warn or error
  handfast dev --help tells about each.
`,
		},
		{
			name: "development that others could look at", command: "dev --http 0.0.0.0:9464",
			want: `handfast: dev cannot run with this configuration; 1 mistake, and nothing was changed:
  --http: "0.0.0.0" is not a loopback address such as 127.0.0.1; what it shows must stay on this machine
  handfast dev --help tells about each.
`,
		},
		{
			name: "a topology", command: "topology apply --partitions 300 --replicas 2 --max-bytes 1GB --server x",
			want: `handfast: topology apply cannot run with this configuration; 4 mistakes, and nothing was changed:
  --server: "x" has no scheme; write nats://HOST:PORT
  --partitions: 300 is not in 1 to 256
  --replicas: 2 is not 1, 3 or 5
  --max-bytes: "1GB" is not a size such as 500MiB or 20GiB
  handfast topology apply --help tells about each.
`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			file := filepath.Join(t.TempDir(), "handfast.yaml")
			require.NoError(t, os.WriteFile(file, []byte(test.file), 0o600))
			var out, err strings.Builder
			status := run(t.Context(), strings.Fields(strings.ReplaceAll(test.command, "FILE", file)), streams{out: &out, err: &err})
			assert.Equal(t, 2, status)
			assert.Empty(t, out.String())
			assert.Equal(t, test.want, strings.ReplaceAll(err.String(), file, "FILE"))
		})
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, command := range []string{"", "dev", "signer", "dispatcher", "topology", "topology apply"} {
		t.Run(command, func(t *testing.T) {
			var out, err strings.Builder
			assert.Equal(t, 0, run(t.Context(), append(strings.Fields(command), "--help"), streams{out: &out, err: &err}))
			assert.Contains(t, out.String(), "Usage: handfast")
			assert.Empty(t, err.String())
		})
	}
}

func TestHelpTellsDefaultsAndVariables(t *testing.T) {
	for command, want := range map[string][]string{
		"dispatcher":    {"in memory (default 4096, $HANDFAST_SLOTS).", "several ($HANDFAST_ALLOW).", "(default nats://127.0.0.1:4222, $HANDFAST_SERVER)."},
		"event publish": {"How long to follow (default 30s)."},
		"delivery list": {"0 for all (default 50).", "receipt of its newest attempt."},
	} {
		var out strings.Builder
		require.Zero(t, run(t.Context(), append(strings.Fields(command), "--help"), streams{out: &out, err: io.Discard}))
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, piece := range want {
			assert.Contains(t, text, piece)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1048576": 1 << 20, "1MiB": 1 << 20, "1024KiB": 1 << 20, "20GiB": 20 << 30, "2TiB": 2 << 40} {
		got, err := size(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"0", "-1MiB", "1", "1KiB", "1.5GiB", "GiB", "MiB1", "9223372036854775807TiB", "1GB"} {
		_, err := size(text)
		assert.Error(t, err, text)
	}
}
