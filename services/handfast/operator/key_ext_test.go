package operator_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/operator"
)

const ordersV1 = `{"tenant":"acme","name":"orders","url":"https://hooks.example.com/in","signature":{"schemes":["v1"]}}`

func states(ring signature.Ring) map[string]signature.State {
	all := map[string]signature.State{}
	for _, k := range ring.Keys() {
		all[k.ID] = k.State
	}
	return all
}

func (r running) keys(t *testing.T) signature.Ring {
	t.Helper()
	ring, err := r.Keys(t.Context(), orders, r.d.Vault)
	require.NoError(t, err)
	return ring
}

func TestTheLifeOfAKey(t *testing.T) {
	r := start(t)
	r.apply(t, ordersV1)
	first := r.keys(t).Keys()[0]
	created, err := r.CreateKey(t.Context(), orders, signature.V1, false, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Created, created.Kind)
	assert.Equal(t, signature.Next, created.Key.State)
	assert.Contains(t, strings.Join(created.Notes, "\n"), "`handfast key rotate acme/orders --scheme v1`")
	_, err = r.CreateKey(t.Context(), orders, signature.V1, false, r.d.Vault)
	require.ErrorIs(t, err, signature.ErrNotDecided)

	_, err = r.RevokeKey(t.Context(), orders, first.ID, r.d.Vault)
	require.ErrorIs(t, err, signature.ErrLastKey)
	before := time.Now()
	rotated, err := r.RotateKey(t.Context(), orders, operator.KeyRotation{Scheme: signature.V1, Overlap: time.Hour}, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, created.Key.ID, rotated.Key.ID)
	require.Len(t, rotated.Retiring, 1)
	assert.Equal(t, first.ID, rotated.Retiring[0].ID)
	assert.WithinRange(t, rotated.Retiring[0].NotAfter, before.Add(time.Hour), time.Now().Add(time.Hour))
	assert.Empty(t, rotated.Notes, "there is nothing to do")

	revoked, err := r.RevokeKey(t.Context(), orders, first.ID, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Revoked, revoked.Kind)
	assert.Empty(t, revoked.Retiring)
	again, err := r.RevokeKey(t.Context(), orders, first.ID, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, operator.Unchanged, again.Kind)
	assert.Equal(t, map[string]signature.State{first.ID: signature.Revoked, created.Key.ID: signature.Active}, states(r.keys(t)))
	missing := (*operator.NotFoundError)(nil)
	_, err = r.RevokeKey(t.Context(), orders, "key_none", r.d.Vault)
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, "`handfast key list acme/orders`")
	_, err = r.RotateKey(t.Context(), orders, operator.KeyRotation{Scheme: signature.V1a, Overlap: time.Hour}, r.d.Vault)
	require.ErrorAs(t, err, &missing)
	require.ErrorContains(t, err, "`handfast key create acme/orders --scheme v1a`")
}

func TestNotesSayWhatIsMissing(t *testing.T) {
	r := start(t)
	r.apply(t, ordersV1)
	made, err := r.CreateKey(t.Context(), orders, signature.V1a, false, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, signature.Active, made.Key.State, "the first of its scheme")
	assert.Contains(t, strings.Join(made.Notes, "\n"), "acme/orders is signed with v1 only; add v1a to signature.schemes")
	rotated, err := r.RotateKey(t.Context(), orders, operator.KeyRotation{Scheme: signature.V1a, Overlap: time.Minute}, r.d.Vault)
	require.NoError(t, err)
	notes := strings.Join(rotated.Notes, "\n")
	assert.Contains(t, notes, "a new one is made")
	assert.Contains(t, notes, "may keep public keys for 5m0s")
	_, err = r.RevokeKey(t.Context(), orders, rotated.Key.ID, r.d.Vault)
	require.NoError(t, err, "v1a is not used, so its last key may go")
	none := endpoint.Key{Tenant: "acme", Name: "none"}
	made, err = r.CreateKey(t.Context(), none, signature.V1, false, r.d.Vault)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(made.Notes, "\n"), "there is no endpoint acme/none yet")
}

// TestASchemeForOneSignatureHasNoOverlap: the receiver has to know the next key before it is the only one.
func TestASchemeForOneSignatureHasNoOverlap(t *testing.T) {
	r := start(t)
	r.apply(t, `{"tenant":"acme","name":"orders","url":"https://hooks.example.com/in","signature":{"schemes":["github"]}}`)
	first := r.keys(t).Keys()[0]
	rotation := operator.KeyRotation{Scheme: signature.GitHub, Overlap: time.Hour}
	_, err := r.RotateKey(t.Context(), orders, rotation, r.d.Vault)
	require.ErrorContains(t, err, "make the next key first (`handfast key create acme/orders --scheme github`)")
	_, err = r.CreateKey(t.Context(), orders, signature.GitHub, true, r.d.Vault)
	require.ErrorContains(t, err, "a second active key would sign nothing")
	next, err := r.CreateKey(t.Context(), orders, signature.GitHub, false, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, signature.Next, next.Key.State)
	rotated, err := r.RotateKey(t.Context(), orders, rotation, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, next.Key.ID, rotated.Key.ID)
	assert.Empty(t, rotated.Retiring)
	assert.Contains(t, strings.Join(rotated.Notes, "\n"), "the old key does not sign any more")
	old, _ := r.keys(t).Key(first.ID)
	assert.True(t, old.Over(time.Now().Add(time.Second)), "nothing says that it still signs")
}

// TestAnImportedSecretIsTheFirstKey brings a receiver's secret before its endpoint, and rotates away from it.
func TestAnImportedSecretIsTheFirstKey(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the Standard Webhooks documentation
	r := start(t)
	imported, err := r.ImportKey(t.Context(), orders, signature.V1, secret, false, r.d.Vault)
	require.NoError(t, err)
	assert.Equal(t, signature.Active, imported.Key.State)
	assert.NotZero(t, imported.Key.Created)
	r.apply(t, ordersV1)
	ring := r.keys(t)
	assert.Equal(t, map[string]signature.State{imported.Key.ID: signature.Active}, states(ring), "no signer made another one")
	assert.Equal(t, secret, ring.Keys()[0].Reveal())
	for _, test := range []struct {
		scheme, secret string
		want           error
	}{
		{signature.V1, secret, signature.ErrKnownSecret},
		{signature.V1, "hunter2", signature.ErrInvalidKey},
		{signature.V1a, secret, signature.ErrInvalidKey},
		{"v9", secret, signature.ErrUnknownScheme},
	} {
		_, err := r.ImportKey(t.Context(), orders, test.scheme, test.secret, false, r.d.Vault)
		require.ErrorIs(t, err, test.want)
		assert.NotContains(t, err.Error(), test.secret)
	}
}

// TestChangesAtTheSameMoment lets several people rotate and make keys at once: nothing is lost, whoever comes first.
func TestChangesAtTheSameMoment(t *testing.T) {
	r := start(t)
	r.apply(t, ordersV1)
	var group sync.WaitGroup
	problems := make([]error, 6)
	for i := range problems {
		group.Go(func() {
			if i%2 == 0 {
				_, problems[i] = r.RotateKey(context.Background(), orders, operator.KeyRotation{Scheme: signature.V1, Overlap: time.Hour}, r.d.Vault)
			} else {
				_, problems[i] = r.CreateKey(context.Background(), orders, signature.V1, true, r.d.Vault)
			}
		})
	}
	group.Wait()
	made := 1
	for _, err := range problems {
		if err == nil {
			made++
			continue
		}
		require.ErrorIs(t, err, signature.ErrNotDecided, "two were active when it rotated")
	}
	assert.GreaterOrEqual(t, made, 4, "those that were made active")
	assert.Len(t, r.keys(t).Keys(), made)
}

// TestAnotherMasterKeyChangesNothing: no signer could open what it seals.
func TestAnotherMasterKeyChangesNothing(t *testing.T) {
	r := start(t)
	r.apply(t, ordersV1)
	before := r.keys(t)
	wrong := signature.Vault{}
	var err error
	wrong.Current, err = signature.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	fresh := endpoint.Key{Tenant: "acme", Name: "fresh"}
	for name, do := range map[string]func() error{
		"create": func() error {
			_, err := r.CreateKey(t.Context(), orders, signature.V1, false, wrong)
			return err
		},
		"rotate": func() error {
			_, err := r.RotateKey(t.Context(), orders, operator.KeyRotation{Scheme: signature.V1, Overlap: time.Hour}, wrong)
			return err
		},
		"revoke": func() error {
			_, err := r.RevokeKey(t.Context(), orders, before.Keys()[0].ID, wrong)
			return err
		},
		"a ring that does not exist yet": func() error {
			_, err := r.CreateKey(t.Context(), fresh, signature.V1, false, wrong)
			return err
		},
	} {
		err := do()
		require.ErrorIs(t, err, signature.ErrWrongMasterKey, name)
		assert.Equal(t, 1, strings.Count(err.Error(), "--master-key-file"), err.Error())
	}
	assert.Equal(t, states(before), states(r.keys(t)))
	all, err := r.AllKeys(t.Context(), "", wrong)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.ErrorIs(t, all[0].Closed, signature.ErrWrongMasterKey)

	wrong.Previous = []signature.MasterKey{r.d.Vault.Current}
	_, err = r.CreateKey(t.Context(), fresh, signature.V1, false, wrong)
	require.NoError(t, err, "a change of the master key that is under way")
}

func TestAllKeysAreListed(t *testing.T) {
	r := start(t)
	for _, key := range []endpoint.Key{{Tenant: "beta", Name: "all"}, orders, {Tenant: "acme", Name: "billing"}} {
		_, err := r.CreateKey(t.Context(), key, signature.V1, false, r.d.Vault)
		require.NoError(t, err)
	}
	for tenant, want := range map[string][]string{"": {"acme/billing", "acme/orders", "beta/all"}, "acme": {"acme/billing", "acme/orders"}, "none": {}} {
		all, err := r.AllKeys(t.Context(), tenant, r.d.Vault)
		require.NoError(t, err)
		names := []string{}
		for _, held := range all {
			require.NoError(t, held.Closed)
			assert.Len(t, held.Ring.Keys(), 1)
			names = append(names, held.Endpoint.String())
		}
		assert.Equal(t, want, names)
	}
}
