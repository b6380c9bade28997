package connection_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/services/handfast/connection"
)

func TestEveryWrongFlagIsTold(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for _, test := range []struct {
		name  string
		flags connection.Flags
		want  []string
	}{
		{"nothing wrong", connection.Flags{Server: []string{"nats://a:4222", "wss://b"}}, nil},
		{"no server", connection.Flags{}, []string{"--server: no server is named"}},
		{
			"servers",
			connection.Flags{Server: []string{"127.0.0.1:4222", "localhost", "http://u:secret@h", "nats://", "nats://u:secret@h:x"}},
			[]string{
				`--server: not a URL: first path segment in URL cannot contain colon`,
				`--server: "localhost" has no scheme; write nats://HOST:PORT`,
				`--server: "http://u:xxxxx@h" has scheme "http"; NATS has nats, tls, ws and wss`,
				`--server: "nats:" names no host`,
				`--server: not a URL: invalid port ":x" after host`,
			},
		},
		{
			"users",
			connection.Flags{Server: []string{"nats://a"}, Credentials: empty, User: "u", NKey: empty, Inbox: "a.*"},
			[]string{
				"--nats-credentials: give one of --nats-credentials, --nats-user with --nats-password-file, and --nats-nkey, not several",
				"--nats-credentials: EMPTY holds no user JWT with its seed; `nsc generate creds` writes such a file",
				"--nats-nkey: EMPTY holds no NKey seed that can be used: nkeys: no nkey seed found",
				"--nats-user: needs the password in a file: --nats-password-file",
				`--nats-inbox: "a.*" is not a subject prefix such as _INBOX.signer`,
			},
		},
		{"password", connection.Flags{Server: []string{"nats://a"}, User: "u", PasswordFile: empty}, []string{"--nats-password-file: EMPTY is empty"}},
		{"password of nobody", connection.Flags{Server: []string{"nats://a"}, PasswordFile: empty}, []string{"--nats-password-file: needs the name of the user: --nats-user"}},
		{
			"TLS",
			connection.Flags{Server: []string{"tls://a"}, CA: empty, Certificate: "/nowhere/c.pem"},
			[]string{"--nats-ca: EMPTY holds no certificate in PEM", "--nats-certificate: needs its key: --nats-key"},
		},
		{
			"missing files",
			connection.Flags{Server: []string{"tls://a"}, CA: "/nowhere/ca", Certificate: "/nowhere/c", Key: "/nowhere/k"},
			[]string{
				"--nats-ca: open /nowhere/ca: no such file or directory",
				"--nats-certificate: cannot be used with --nats-key: open /nowhere/c: no such file or directory",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, err := range test.flags.Problems() {
				got = append(got, strings.ReplaceAll(err.Error(), empty, "EMPTY"))
			}
			assert.Equal(t, test.want, got)
			assert.NotContains(t, strings.Join(got, " "), "secret")
		})
	}
}

func TestNameHidesUserInformation(t *testing.T) {
	flags := connection.Flags{Server: []string{"nats://u:secret@a:4222", "nats://b"}}
	assert.Equal(t, "nats://a:4222, nats://b", flags.Name())
}

func TestACommandFailsAtOnceAndInWords(t *testing.T) {
	flags := connection.Flags{Server: []string{"nats://u:secret@127.0.0.1:1"}}
	_, err := flags.Dial(t.Context(), "test")
	require.ErrorIs(t, err, nats.ErrNoServers)
	require.ErrorContains(t, err, "no NATS server at nats://127.0.0.1:1; start `handfast dev`, or name it with --server")
	assert.NotContains(t, err.Error(), "secret")

	server, err := embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	flags.Server = []string{server.URL()}
	_, err = flags.Dial(t.Context(), "test")
	require.ErrorIs(t, err, stream.ErrNoTopology)

	session, err := flags.Open(t.Context(), "test")
	require.NoError(t, err, "the command that sets it up needs no topology")
	defer session.Close()
	require.NoError(t, stream.Topology{Partitions: 2}.Apply(t.Context(), session.JS))
	dialled, err := flags.Dial(t.Context(), "test")
	require.NoError(t, err)
	defer dialled.Close()
	assert.Equal(t, 2, dialled.Topology.Partitions)
	assert.True(t, strings.HasPrefix(dialled.NATS.NewInbox(), "_INBOX.operator."), "every command answers to the operator's inbox")

	broken := errors.New("broken")
	assert.Equal(t, broken, dialled.Explain(broken))
	assert.NoError(t, dialled.Explain(nil))
}

func TestAServiceWaitsForItsServer(t *testing.T) {
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Options{Dir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	address := strings.TrimPrefix(server.URL(), "nats://")
	server.Stop()

	flags := connection.Flags{Server: []string{"nats://" + address}}
	nc, err := flags.Connect("signer", slog.New(slog.DiscardHandler))
	require.NoError(t, err, "a server that is away is no error")
	defer nc.Close()
	assert.False(t, nc.IsConnected())
	assert.True(t, strings.HasPrefix(nc.NewInbox(), "_INBOX.signer."))

	server, err = embedded.Start(embedded.Options{Dir: dir, Listen: address})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	require.Eventually(t, nc.IsConnected, 20*time.Second, 10*time.Millisecond)

	flags.Inbox = "_INBOX.special"
	special, err := flags.Connect("signer", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer special.Close()
	assert.True(t, strings.HasPrefix(special.NewInbox(), "_INBOX.special."))

	flags.User = "u"
	_, err = flags.Connect("signer", slog.New(slog.DiscardHandler))
	require.EqualError(t, err, "--nats-user: needs the password in a file: --nats-password-file", "a wrong flag is an error at once")
}
