package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// desk is a person's machine with a key file, and a broker on loopback on which nobody works.
type desk struct {
	t   *testing.T
	dir string
}

func newDesk(t *testing.T) desk {
	t.Helper()
	d := desk{t: t, dir: t.TempDir()}
	broker, err := embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	nc, err := stream.Connect("test", "", slog.New(slog.DiscardHandler), broker.Option())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, stream.Topology{Partitions: 4}.Apply(t.Context(), js))
	t.Setenv("HANDFAST_SERVER", broker.URL())
	t.Setenv("HANDFAST_IDENTITY_KEY_FILE", d.key("identity.key"))
	t.Setenv("COLUMNS", "200")
	t.Chdir(d.dir)
	return d
}

// key makes a file with a new master key.
func (d desk) key(name string) string {
	d.t.Helper()
	key, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(d.t, err)
	return d.write(name, []byte(key.Reveal()))
}

func (d desk) write(name string, content []byte) string {
	d.t.Helper()
	require.NoError(d.t, os.WriteFile(filepath.Join(d.dir, name), content, 0o600))
	return filepath.Join(d.dir, name)
}

// run runs a command; its words are divided by blanks.
func (d desk) run(words string, more ...string) (status int, out, errs string) {
	d.t.Helper()
	var o, e bytes.Buffer
	status = run(d.t.Context(), append(strings.Fields(words), more...), streams{out: &o, err: &e})
	assert.NotContains(d.t, o.String()+e.String(), "PRIVATE KEY")
	return status, o.String(), e.String()
}

// must is run for what has to go well.
func (d desk) must(words string, more ...string) string {
	d.t.Helper()
	status, out, errs := d.run(words, more...)
	require.Zero(d.t, status, "%s: %s", words, errs)
	return out
}

func TestIdentityCommandsTellEverythingThatIsWrong(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		words string
		want  []string
	}{
		{"identity create A --san x:y --lifetime 1s --identity-key-file nowhere --previous-identity-key-file neither --server x", []string{
			"identity create cannot run with this configuration; 5 mistakes", `--server: "x" has no scheme`, "--identity-key-file: invalid master key: open nowhere",
			"--previous-identity-key-file: invalid master key: open neither", `"A" is not a name`, "would be valid for 1s",
		}},
		{"identity csr A", []string{`"A" is not a name`}},
		{"identity csr a --san *.example.com --common-name " + strings.Repeat("x", 65), []string{`"*.example.com" is not a DNS name`, "the common name has more than 64 characters"}},
		{"identity install A --certificate nowhere", []string{`"A" is not a name`, "--certificate: read: open nowhere"}},
		{"identity show A", []string{`"A" is not a name`}},
		{"identity retire A", []string{`"A" is not a name`}},
		{"identity rotate A --to B", []string{`"A" is not a name`, `--to: "B" is not a name`}},
		{"identity rotate a", []string{"missing flags: --to"}},
		{"identity authority create A --lifetime 1s", []string{`"A" is not a name`, "a root lasts years"}},
		{"identity authority retire a --final --undo", []string{"--final and --undo can't be used together"}},
		{"identity import a --key k", []string{"--key: needs its certificate", "--key: read: open k"}},
		{"identity import a --password-file p", []string{"--password-file: is for --pkcs12"}},
		{"identity import a --pkcs12 p", []string{"--pkcs12: needs its password in a file"}},
		{"rotate status A", []string{`"A" is not a name`}},
		{"rotate status --follow", []string{"--follow: needs the NAME"}},
		{"rotate pause A", []string{`"A" is not a name`}},
		{"rotate accept a orders", []string{"write tenant/name"}},
	} {
		status, out, errs := d.run(c.words)
		assert.Equal(t, 2, status, c.words)
		assert.Empty(t, out, c.words)
		for _, want := range c.want {
			assert.Contains(t, errs, want, c.words)
		}
	}
	t.Setenv("HANDFAST_IDENTITY_KEY_FILE", "")
	status, _, errs := d.run("identity create a --san a.example.com")
	assert.Equal(t, 2, status)
	assert.Contains(t, errs, "is needed: the file with the master key that the dispatchers use")
	d.must("identity list") // what only looks needs no key
}

func TestIdentityCommandsWithoutAnything(t *testing.T) {
	d := newDesk(t)
	_, out, errs := d.run("identity list")
	assert.Empty(t, out)
	assert.Contains(t, errs, "no identity is stored; `handfast identity create NAME --san NAME` makes one")
	assert.JSONEq(t, `{"identities":[],"authorities":[]}`, d.must("identity list --json"))
	status, _, errs := d.run("identity ca")
	assert.Equal(t, 1, status)
	assert.Contains(t, errs, "there is no authority of our own")
	_, _, errs = d.run("identity authority list")
	assert.Contains(t, errs, "there is no authority of our own")
	status, _, errs = d.run("trust go --host localhost")
	assert.Equal(t, 1, status, "an answered question is not one for development")
	assert.Contains(t, errs, "--ca: there is no authority of our own")
	assert.Contains(t, errs, `--san: no identity "default" is stored`)
	status, _, errs = d.run("identity rotate default --to next --external")
	assert.Equal(t, 1, status)
	assert.Contains(t, errs, `no endpoint names identity "default", and none is stored under it: there is nothing to rotate`)
}

func TestIdentityCommandsForMachines(t *testing.T) {
	d := newDesk(t)
	assert.JSONEq(t, `{"what":"identity","name":"default","change":"created","notes":["authority \"main\" is made, too: receivers have to trust it (`+"`handfast identity ca`"+`)"]}`,
		d.must("identity create default --san spiffe://example.com/a --json"))
	d.must("identity create next --san spiffe://example.com/b")
	var listed struct {
		Identities []struct {
			Identity struct {
				Name  string `json:"name"`
				State string `json:"state"`
			} `json:"identity"`
			Uses     []map[string]any `json:"uses"`
			Warnings []map[string]any `json:"warnings"`
		} `json:"identities"`
		Authorities []map[string]any `json:"authorities"`
	}
	require.NoError(t, json.Unmarshal([]byte(d.must("identity list --json")), &listed))
	require.Len(t, listed.Identities, 2)
	assert.Equal(t, "default", listed.Identities[0].Identity.Name)
	assert.Equal(t, "active", listed.Identities[0].Identity.State)
	assert.NotNil(t, listed.Identities[0].Uses)
	assert.NotNil(t, listed.Identities[0].Warnings)
	assert.Len(t, listed.Authorities, 1)

	var request struct {
		Change  string `json:"change"`
		Request string `json:"request"`
	}
	require.NoError(t, json.Unmarshal([]byte(d.must("identity csr partners --san a.example.com --json")), &request))
	assert.Equal(t, "created", request.Change)
	assert.Contains(t, request.Request, "BEGIN CERTIFICATE REQUEST")

	var started struct {
		Uses     string         `json:"uses"`
		Rotation map[string]any `json:"rotation"`
	}
	require.NoError(t, json.Unmarshal([]byte(d.must("identity rotate default --to next --by mira --json")), &started))
	assert.Equal(t, "default", started.Uses)
	assert.Equal(t, "mira", started.Rotation["started_by"])
	for _, words := range []string{"rotate pause default --json", "rotate status --json"} {
		var shown shownRotation
		require.NoError(t, json.Unmarshal([]byte(d.must(words)), &shown), words)
		require.NotNil(t, shown.Rotation, words)
		assert.Equal(t, "paused", shown.Rotation.State.String(), words)
		assert.NotNil(t, shown.Endpoints)
		assert.NotNil(t, shown.History)
	}
}

// A receiver learns of a rotation before it refuses what comes: the names differ.
func TestTrustIsWrittenForTheStoredIdentity(t *testing.T) {
	d := newDesk(t)
	d.must("identity create default --san spiffe://example.com/a", "--common-name", "Handfast of Example")
	out := d.must("trust nginx --host hooks.example.com --upstream 127.0.0.1:8080")
	assert.Contains(t, out, `"CN=Handfast of Example"`)
	assert.Contains(t, out, "URI:spiffe://example.com/a")
	d.must("identity create next --san spiffe://example.com/b")
	d.must("identity rotate default --to next")
	_, _, errs := d.run("trust go --host localhost")
	assert.Contains(t, errs, "default is being rotated to next, which does not have the name spiffe://example.com/a but spiffe://example.com/b")
	assert.Contains(t, d.must("trust go --identity next --host localhost"), "spiffe://example.com/b")
}

// The names of files on a person's machine are theirs.
func TestImportRecordsNoFileName(t *testing.T) {
	d := newDesk(t)
	ca, err := authority.New("Partner CA")
	require.NoError(t, err)
	certificatePEM, keyPEM, err := ca.Client("spiffe://example.com/a")
	require.NoError(t, err)
	file := d.write("of-mira.pem", append(certificatePEM, keyPEM...))
	d.must("identity import partners --certificate " + file)
	shown := d.must("identity show partners --json")
	assert.NotContains(t, shown, "of-mira")
	assert.NotContains(t, shown, d.dir)
}

func TestRefusalsAreReadable(t *testing.T) {
	one := &identity.RefusedError{What: "it", Act: "done", Problems: []string{"a"}}
	assert.Equal(t, error(one), refusal(one))
	two := &identity.RefusedError{What: "it", Act: "done", Problems: []string{"a", "b"}}
	require.EqualError(t, refusal(two), "it cannot be done:\n  a\n  b")
	other := errors.New("else")
	assert.Equal(t, other, refusal(other))
	assert.NoError(t, refusal(nil))
}

func TestDatesAreAsExactAsTheyAreNear(t *testing.T) {
	assert.Empty(t, date(time.Time{}))
	assert.Len(t, date(time.Now().Add(time.Hour)), len("2006-01-02 15:04"))
	assert.Len(t, date(time.Now().Add(-time.Hour)), len("2006-01-02 15:04"))
	assert.Len(t, date(time.Now().Add(72*time.Hour)), len("2006-01-02"))
}

func TestHelpOfIdentityCommands(t *testing.T) {
	for _, words := range []string{
		"identity", "identity create", "identity import", "identity csr", "identity install", "identity list", "identity show", "identity ca", "identity rotate",
		"identity retire", "identity authority", "identity authority create", "identity authority list", "identity authority retire",
		"rotate", "rotate status", "rotate pause", "rotate resume", "rotate rollback", "rotate accept",
	} {
		var out, errs bytes.Buffer
		assert.Zero(t, run(t.Context(), append(strings.Fields(words), "--help"), streams{out: &out, err: &errs}), words)
		assert.Contains(t, out.String(), "Usage: handfast "+words, words)
	}
}
