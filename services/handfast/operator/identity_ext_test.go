package operator_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
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
	"github.com/handfast/handfast/services/handfast/operator"
)

// shelf is a broker with a topology and nobody on it, so that what is stored stays as a test wrote it.
type shelf struct {
	*operator.Wallet

	o        *operator.Operator
	js       jetstream.JetStream
	topology stream.Topology
	vault    seal.Vault
}

func newShelf(t *testing.T) shelf {
	t.Helper()
	broker, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	logger := slog.New(slog.DiscardHandler)
	nc, err := stream.Connect("test", "", logger, broker.Option())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, stream.Topology{Partitions: 4}.Apply(t.Context(), js))
	topology, err := stream.LoadTopology(t.Context(), js)
	require.NoError(t, err)
	s := shelf{o: operator.New(js, topology), js: js, topology: topology, vault: newVault(t)}
	s.Wallet, err = s.o.Wallet(t.Context())
	require.NoError(t, err)
	return s
}

func newVault(t *testing.T) seal.Vault {
	t.Helper()
	key, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	return seal.Vault{Current: key}
}

const san = "spiffe://example.com/handfast"

func profile() identity.Profile { return operator.ProfileOf("", []string{san}, 0) }

func (s shelf) create(t *testing.T, name string) {
	t.Helper()
	_, err := s.Create(t.Context(), name, operator.MainAuthority, profile(), s.vault)
	require.NoError(t, err)
}

// apply stores endpoints that present an identity.
func (s shelf) apply(t *testing.T, presents string, names ...string) {
	t.Helper()
	for _, name := range names {
		text := fmt.Sprintf("tenant: acme\nname: %s\nurl: https://%s.example.com/in\ntls: {identity: %s}\n", name, name, presents)
		documents, err := operator.ParseDocuments([]operator.Source{{Name: name, Text: []byte(text)}})
		require.NoError(t, err)
		_, err = s.o.Apply(t.Context(), documents, operator.Application{})
		require.NoError(t, err)
	}
}

func (s shelf) putRaw(t *testing.T, bucket, key, value string) {
	t.Helper()
	kv, err := s.js.KeyValue(t.Context(), bucket)
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), key, []byte(value))
	require.NoError(t, err)
}

func TestCreateMakesTheMainAuthorityOnce(t *testing.T) {
	s := newShelf(t)
	_, err := s.Authorities(t.Context())
	require.ErrorContains(t, err, "there is no authority of our own; `handfast identity create` makes one")

	// A mistake in the identity leaves no authority behind.
	_, err = s.Create(t.Context(), "default", operator.MainAuthority, identity.Profile{}, s.vault)
	require.ErrorContains(t, err, "it has no alternative name")
	_, err = s.Authorities(t.Context())
	require.Error(t, err)

	change, err := s.Create(t.Context(), "default", operator.MainAuthority, profile(), s.vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Created, change.Kind)
	require.Len(t, change.Notes, 1)
	assert.Contains(t, change.Notes[0], `authority "main" is made, too`)
	change, err = s.Create(t.Context(), "second", operator.MainAuthority, profile(), s.vault)
	require.NoError(t, err)
	assert.Empty(t, change.Notes)

	for name, want := range map[string]string{
		"default": `identity "default" exists already (authority, active); choose another name, such as default-2, and rotate to it`,
		"UPPER":   `"UPPER" is not a name`,
	} {
		_, err = s.Create(t.Context(), name, operator.MainAuthority, profile(), s.vault)
		require.ErrorContains(t, err, want)
	}
	_, err = s.Create(t.Context(), "third", "next-ca", profile(), s.vault)
	require.ErrorContains(t, err, "there is no authority \"next-ca\"; `handfast identity authority create next-ca` makes it; there is main")

	opened, err := s.Open(t.Context(), "default", s.vault)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	all, err := s.Authorities(t.Context())
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(identity.Bundle(all)))
	_, err = opened.Leaf().Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	assert.Equal(t, san, opened.Leaf().URIs[0].String())
}

// Dispatchers hold one key; what is sealed with another one would be of no use to them.
func TestAnotherKeyIsRefused(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	other := newVault(t)
	_, err := s.Create(t.Context(), "second", operator.MainAuthority, profile(), other)
	require.ErrorContains(t, err, "--identity-key-file names another key than the one that sealed what is stored")
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	_, err = s.CreateAuthority(t.Context(), "next-ca", "", 0, other)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	_, _, err = s.Request(t.Context(), "partners", profile(), false, other)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	_, err = s.Import(t.Context(), "partners", other, func(seal.Vault) (identity.Record, error) {
		t.Error("the files are not even looked at")
		return identity.Record{}, nil
	})
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	_, err = s.Open(t.Context(), "default", other)
	require.ErrorContains(t, err, "give the key that the dispatchers use with --identity-key-file")

	// One that opens it is as good after the current key has changed.
	both := seal.Vault{Current: other.Current, Previous: []seal.MasterKey{s.vault.Current}}
	_, _, err = s.Request(t.Context(), "partners", profile(), false, both)
	require.NoError(t, err)
}

func TestImport(t *testing.T) {
	s := newShelf(t)
	ca, err := authority.New("Partner CA")
	require.NoError(t, err)
	certificatePEM, keyPEM, err := ca.Client(san)
	require.NoError(t, err)
	read := func(v seal.Vault) (identity.Record, error) {
		return identity.ImportPEM("partners", certificatePEM, keyPEM, v, time.Now())
	}
	change, err := s.Import(t.Context(), "partners", s.vault, read)
	require.NoError(t, err)
	assert.Equal(t, operator.Created, change.Kind)
	_, err = s.Import(t.Context(), "partners", s.vault, read)
	require.ErrorContains(t, err, `identity "partners" exists already (imported, active)`)

	record, err := s.Identity(t.Context(), "partners")
	require.NoError(t, err)
	assert.Equal(t, identity.Imported, record.Origin)
	_, err = s.Identity(t.Context(), "partner")
	require.EqualError(t, err, `no identity "partner" is stored; there is partners`)
}

func TestRequestAndInstall(t *testing.T) {
	s := newShelf(t)
	_, _, err := s.Request(t.Context(), "partners", identity.Profile{}, false, s.vault)
	require.ErrorContains(t, err, "it has no alternative name")

	record, change, err := s.Request(t.Context(), "partners", profile(), false, s.vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Created, change.Kind)
	first := record.RequestPEM()
	record, change, err = s.Request(t.Context(), "partners", identity.Profile{}, false, s.vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Unchanged, change.Kind, "the request that waits is printed again")
	assert.Equal(t, first, record.RequestPEM())
	_, _, err = s.Request(t.Context(), "partners", operator.ProfileOf("", []string{"other.example.com"}, 0), false, s.vault)
	require.ErrorContains(t, err, `identity "partners" is known as `+san)
	_, err = s.Open(t.Context(), "partners", s.vault)
	require.ErrorContains(t, err, "`handfast identity install partners` takes the certificate that it waits for")

	ca, err := authority.New("Partner CA")
	require.NoError(t, err)
	stranger, _, err := ca.Client(san)
	require.NoError(t, err)
	_, err = s.Install(t.Context(), "partners", stranger, s.vault)
	require.ErrorContains(t, err, "cannot be given this certificate")
	change, err = s.Install(t.Context(), "partners", sign(t, ca, first), s.vault)
	require.NoError(t, err)
	assert.Contains(t, change.Notes[0], "its certificate is in use, and valid until ")
	before, err := s.Open(t.Context(), "partners", s.vault)
	require.NoError(t, err)

	// The successor: the certificate in use stays until the next is installed, and --again makes a new key.
	record, change, err = s.Request(t.Context(), "partners", profile(), false, s.vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Changed, change.Kind)
	second := record.RequestPEM()
	require.NotEqual(t, first, second)
	record, change, err = s.Request(t.Context(), "partners", identity.Profile{}, true, s.vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Changed, change.Kind)
	require.NotEqual(t, second, record.RequestPEM())
	still, err := s.Open(t.Context(), "partners", s.vault)
	require.NoError(t, err)
	assert.Equal(t, before.Fingerprint(), still.Fingerprint())
	_, err = s.Install(t.Context(), "partners", sign(t, ca, second), s.vault)
	require.ErrorContains(t, err, "cannot be given this certificate", "its key was thrown away")
	_, err = s.Install(t.Context(), "partners", sign(t, ca, record.RequestPEM()), s.vault)
	require.NoError(t, err)
	after, err := s.Open(t.Context(), "partners", s.vault)
	require.NoError(t, err)
	assert.NotEqual(t, before.Fingerprint(), after.Fingerprint())
}

// sign is what a receiver's CA does with a request.
func sign(t *testing.T, ca *authority.Authority, request string) []byte {
	t.Helper()
	parsed, err := authority.ParseRequest([]byte(request))
	require.NoError(t, err)
	issued, err := ca.Answer([]byte(request), authority.Leaf{CommonName: parsed.Subject.CommonName, URIs: parsed.URIs, DNSNames: parsed.DNSNames, Client: true})
	require.NoError(t, err)
	return issued
}

func TestRetireRefusesWhileSomebodyNeedsIt(t *testing.T) {
	s := newShelf(t)
	for _, name := range []string{"default", "default-2", "unused"} {
		s.create(t, name)
	}
	s.apply(t, "default", "orders", "billing")
	_, err := s.Retire(t.Context(), "default")
	var inUse *operator.InUseError
	require.ErrorAs(t, err, &inUse)
	assert.Equal(t, []string{"it is presented as default to acme/billing, acme/orders"}, inUse.Reasons)

	_, err = s.StartRotation(t.Context(), "default", "default-2", "mira", false, s.vault)
	require.NoError(t, err)
	require.NoError(t, s.AcceptRotation(t.Context(), "default", orders, "mira"))
	_, err = s.Retire(t.Context(), "default")
	require.ErrorAs(t, err, &inUse)
	assert.Equal(t, []string{"it is presented as default to acme/billing"}, inUse.Reasons)
	_, err = s.Retire(t.Context(), "default-2")
	require.ErrorAs(t, err, &inUse)
	assert.Equal(t, []string{
		"default is being rotated to it; `handfast rotate rollback default` takes that back", "it is presented as default to acme/orders",
	}, inUse.Reasons)

	v, err := s.Inventory(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []operator.Use{{Name: "default", Stands: true, Endpoints: []string{"acme/billing"}}}, v.Uses("default"))
	assert.Equal(t, []operator.Use{{Name: "default", Next: true, Endpoints: []string{"acme/orders"}}}, v.Uses("default-2"))
	assert.Empty(t, v.Uses("unused"))
	assert.Equal(t, []string{"default", "default-2", "unused"}, v.IssuedBy(operator.MainAuthority))

	change, err := s.Retire(t.Context(), "unused")
	require.NoError(t, err)
	assert.Contains(t, change.Notes[0], "it has retired: its key is gone")
	_, err = s.Open(t.Context(), "unused", s.vault)
	require.Error(t, err)
	_, err = s.Create(t.Context(), "unused", operator.MainAuthority, profile(), s.vault)
	require.ErrorContains(t, err, `identity "unused" was retired on `)
	_, err = s.Retire(t.Context(), "unused")
	require.ErrorContains(t, err, "it was retired on ")
}

// An assignment alone, without any endpoint, is reason enough: who applies one later is presented it.
func TestRetireSeesAssignments(t *testing.T) {
	s := newShelf(t)
	s.create(t, "next")
	s.putRaw(t, stream.IdentityBucket, "assignment.default", `{"version":1,"name":"default","uses":"next"}`)
	_, err := s.Retire(t.Context(), "next")
	require.ErrorContains(t, err, "the name default stands for it")
	uses, next, err := s.Stands(t.Context(), "default")
	require.NoError(t, err)
	assert.Equal(t, "next", uses)
	assert.Empty(t, next)
}

// What cannot be read may present it: nothing is destroyed on a guess.
func TestRetireFailsClosed(t *testing.T) {
	for name, broken := range map[string]struct{ bucket, key string }{
		"an assignment": {stream.IdentityBucket, "assignment.other"},
		"a document":    {stream.EndpointBucket, stream.EndpointKey(orders, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			s.create(t, "default")
			s.putRaw(t, broken.bucket, broken.key, `{"version":9}`)
			_, err := s.Retire(t.Context(), "default")
			require.ErrorContains(t, err, "it cannot be told whether it is presented")
			_, err = s.Open(t.Context(), "default", s.vault)
			require.NoError(t, err)
		})
	}
}

func TestTheLifeOfAnAuthority(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	change, err := s.CreateAuthority(t.Context(), "next-ca", "", 0, s.vault)
	require.NoError(t, err)
	assert.Contains(t, change.Notes[0], "give receivers `handfast identity ca` before")
	_, err = s.CreateAuthority(t.Context(), "next-ca", "", 0, s.vault)
	require.ErrorContains(t, err, `authority "next-ca" exists already; choose another name, such as next-ca-2`)

	change, err = s.RetireAuthority(t.Context(), "main", false)
	require.NoError(t, err)
	assert.Contains(t, change.Notes[0], "still renews default: rotate to identities under another authority")
	_, err = s.RetireAuthority(t.Context(), "main", false)
	require.ErrorContains(t, err, `authority "main" is retiring already`)
	_, err = s.Create(t.Context(), "second", "main", profile(), s.vault)
	require.ErrorContains(t, err, `authority "main" is retiring and issues for no new identity`)
	_, err = s.ReviveAuthority(t.Context(), "main")
	require.NoError(t, err)
	s.create(t, "second")

	_, err = s.RetireAuthority(t.Context(), "main", true)
	require.ErrorContains(t, err, "it renews default, second")
	for _, name := range []string{"default", "second"} {
		_, err = s.Retire(t.Context(), name)
		require.NoError(t, err)
	}
	_, err = s.RetireAuthority(t.Context(), "main", true)
	require.NoError(t, err)
	all, err := s.Authorities(t.Context())
	require.NoError(t, err)
	bundle := string(identity.Bundle(all))
	assert.Contains(t, bundle, `"next-ca"`)
	assert.NotContains(t, bundle, `"main"`)
	_, err = s.ReviveAuthority(t.Context(), "main")
	require.ErrorContains(t, err, "its key is gone")
	_, err = s.RetireAuthority(t.Context(), "absent", false)
	require.ErrorContains(t, err, "there is no authority \"absent\"; `handfast identity authority create absent` makes it; there is main, next-ca")
}

// What a person is shown holds no key, sealed or not.
func TestInventoryShowsNoKey(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	v, err := s.Inventory(t.Context())
	require.NoError(t, err)
	text, err := json.Marshal(map[string]any{"identities": v.Identities, "authorities": v.Authorities})
	require.NoError(t, err)
	assert.Contains(t, string(text), san)
	for _, word := range []string{"PRIVATE", "ciphertext", "nonce"} {
		assert.NotContains(t, string(text), word)
	}
}

// Without the bucket there is an answer, and it says what to do.
func TestWalletNeedsItsBucket(t *testing.T) {
	s := newShelf(t)
	require.NoError(t, s.js.DeleteKeyValue(t.Context(), stream.IdentityBucket))
	_, err := s.o.Wallet(context.WithoutCancel(t.Context()))
	require.ErrorContains(t, err, "run `handfast topology apply`")
}
