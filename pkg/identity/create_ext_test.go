package identity_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	r, err := identity.Create("default", ca, identity.Profile{URIs: []string{name}, DNSNames: []string{"hooks.example.org"}, Organization: "Example"}, vault, now)
	require.NoError(t, err)
	assert.Equal(t, identity.Active, r.State)
	assert.Equal(t, "main", r.Authority)
	leaf := r.Leaf()
	assert.Equal(t, name, leaf.Subject.CommonName)
	assert.Equal(t, name, leaf.URIs[0].String())
	assert.Equal(t, []string{"hooks.example.org"}, leaf.DNSNames)
	assert.WithinDuration(t, now.Add(7*day), leaf.NotAfter, time.Second, "7 days if nothing else was said")
	assert.True(t, leaf.NotBefore.Before(now))

	i, err := r.Open(vault, now)
	require.NoError(t, err)
	seen, err := shake(t, mtls.Static(i), identity.Bundle([]identity.Authority{ca}), now)
	require.NoError(t, err)
	assert.True(t, seen.Equal(leaf), "the receiver sees this certificate")
	other := newAuthority(t, "other", vault, now)
	_, err = shake(t, mtls.Static(i), identity.Bundle([]identity.Authority{other}), now)
	require.Error(t, err, "and who trusts another authority refuses it")
}

func TestCreateTellsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	retiring, err := ca.Become(identity.AuthorityRetiring, now)
	require.NoError(t, err)
	_, err = identity.Create("No!", retiring, identity.Profile{
		CommonName: string(make([]rune, 65)), URIs: []string{"relative", "spiffe:", "a b://c", "HTTPS://x.test/"},
		DNSNames: []string{"-x", "*.test", ""}, Lifetime: time.Minute,
	}, vault, now)
	for _, want := range []string{
		`client identity "No!" cannot be created`, `"No!" is not a name`, "64 characters", `"relative" is not`, `"spiffe:" is not`, `"a b://c" is not`,
		`"HTTPS://x.test/" would stand in the certificate as "https://x.test/"`,
		`"-x" is not`, `"*.test" is not`, `"" is not`, "valid for 1m0s", `authority "main" is retiring`,
	} {
		require.ErrorContains(t, err, want)
	}
	_, err = identity.Create("default", ca, identity.Profile{}, vault, now)
	require.ErrorContains(t, err, "no alternative name")
	_, err = identity.Create("default", ca, profile(), newVault(t), now)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	_, err = identity.Create("default", ca, profile(), vault, now.AddDate(11, 0, 0))
	require.ErrorContains(t, err, "expired")
}

func TestRenewAtTwoThirdsByName(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	at := make(map[time.Time]bool)
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		r := created(t, n, ca, vault, now)
		life := r.Leaf().NotAfter.Sub(r.Leaf().NotBefore)
		earliest := r.Leaf().NotBefore.Add(life / 3 * 2)
		assert.False(t, r.RenewAt().Before(earliest.Add(-time.Second)))
		assert.False(t, r.RenewAt().After(earliest.Add(life/20)))
		assert.False(t, r.Due(r.RenewAt().Add(-time.Second)))
		assert.True(t, r.Due(r.RenewAt()))
		assert.Equal(t, r.RenewAt(), created(t, n, ca, vault, now).RenewAt(), "the same name, the same time")
		at[r.RenewAt()] = true
	}
	assert.Greater(t, len(at), 4, "not all at once")
	retired, err := created(t, "a", ca, vault, now).Retire(now)
	require.NoError(t, err)
	assert.True(t, retired.RenewAt().IsZero())
	assert.False(t, retired.Due(now.AddDate(1, 0, 0)))
}

func TestRenew(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	r := created(t, "default", ca, vault, now)
	later := r.RenewAt()
	renewed, err := r.Renew(ca, vault, later)
	require.NoError(t, err)
	assert.NotEqual(t, r.Leaf().PublicKey, renewed.Leaf().PublicKey, "a new key every time")
	assert.Equal(t, r.Leaf().URIs, renewed.Leaf().URIs)
	assert.Equal(t, r.Created, renewed.Created)
	assert.WithinDuration(t, later.Add(7*day), renewed.Leaf().NotAfter, time.Second)
	assert.True(t, renewed.Leaf().NotBefore.Before(r.Leaf().NotAfter), "they overlap")
	_, err = renewed.Open(vault, later)
	require.NoError(t, err)

	retiring, err := ca.Become(identity.AuthorityRetiring, now)
	require.NoError(t, err)
	_, err = r.Renew(retiring, vault, later)
	require.NoError(t, err, "a retiring authority renews what it issued")
	retired, err := ca.Become(identity.AuthorityRetired, now)
	require.NoError(t, err)
	_, err = r.Renew(retired, vault, later)
	require.ErrorContains(t, err, "has retired")
	_, err = r.Renew(newAuthority(t, "other", vault, now), vault, later)
	require.ErrorContains(t, err, `belongs to authority "main", not to "other"`)
	gone, err := r.Retire(later)
	require.NoError(t, err)
	_, err = gone.Renew(ca, vault, later)
	require.ErrorContains(t, err, "only an active identity")
}

// As its authority comes to an end, certificates get shorter. Renewing must stop
// there, and not go on faster and faster.
func TestRenewEndsWithItsAuthority(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca, err := identity.NewAuthority("main", "", 10*day, vault, now)
	require.NoError(t, err)
	r := created(t, "default", ca, vault, now)
	r, err = r.Renew(ca, vault, r.RenewAt())
	require.NoError(t, err)
	assert.Equal(t, ca.Certificate().NotAfter, r.Leaf().NotAfter, "nothing outlives its issuer")
	_, err = r.Renew(ca, vault, r.RenewAt())
	require.ErrorContains(t, err, "create another authority")
}
