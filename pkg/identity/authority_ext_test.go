package identity_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
)

func TestAuthority(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	a, err := identity.NewAuthority("main", "Example webhooks", 0, vault, now)
	require.NoError(t, err)
	assert.Equal(t, "Example webhooks", a.Certificate().Subject.CommonName)
	assert.WithinDuration(t, now.AddDate(10, 0, 0), a.Certificate().NotAfter, 5*day)
	ca, err := a.Open(vault, now)
	require.NoError(t, err)
	assert.Equal(t, a.CertificatePEM(), string(ca.CertificatePEM()))

	_, err = a.Open(newVault(t), now)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
	_, err = a.Open(vault, now.AddDate(11, 0, 0))
	require.ErrorContains(t, err, "expired")
	_, err = identity.NewAuthority("No", strings.Repeat("x", 65), time.Minute, vault, now)
	for _, want := range []string{"is not a name", "64 characters", "valid for 1m0s only"} {
		require.ErrorContains(t, err, want)
	}
	_, err = identity.NewAuthority("main", "", 0, seal.Vault{}, now)
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)

	retiring, err := a.Become(identity.AuthorityRetiring, now)
	require.NoError(t, err)
	back, err := retiring.Become(identity.AuthorityActive, now)
	require.NoError(t, err)
	assert.Equal(t, identity.AuthorityActive, back.State)
	retired, err := retiring.Become(identity.AuthorityRetired, now)
	require.NoError(t, err)
	_, err = retired.Open(vault, now)
	require.ErrorContains(t, err, "has retired")
	assert.NotContains(t, string(encoded(t, retired)), "ciphertext", "its key is gone")
	_, err = retired.Become(identity.AuthorityActive, now)
	require.ErrorContains(t, err, "its key is gone")
	_, err = a.Become(9, now)
	require.ErrorContains(t, err, "is not a state")
}

func TestBundle(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	first, second, third := newAuthority(t, "a", vault, now), newAuthority(t, "b", vault, now), newAuthority(t, "c", vault, now)
	first, err := first.Become(identity.AuthorityRetiring, now)
	require.NoError(t, err)
	third, err = third.Become(identity.AuthorityRetired, now)
	require.NoError(t, err)
	bundle := identity.Bundle([]identity.Authority{first, third, second, {}})
	list := parsePEM(t, bundle)
	require.Len(t, list, 2)
	assert.True(t, list[0].Equal(second.Certificate()), "active ones first")
	assert.True(t, list[1].Equal(first.Certificate()))
	assert.Contains(t, string(bundle), `# Handfast authority "b" (active), valid until `)
	assert.Contains(t, string(bundle), "SHA-256 "+first.Fingerprint()+"\n-----BEGIN")
	assert.Empty(t, identity.Bundle(nil))
}

func TestWordsOfTheClosedLists(t *testing.T) {
	t.Parallel()
	for _, o := range identity.Origins() {
		text, err := o.MarshalText()
		require.NoError(t, err)
		var again identity.Origin
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, o, again)
	}
	for _, s := range identity.AuthorityStates() {
		text, err := s.MarshalText()
		require.NoError(t, err)
		var again identity.AuthorityState
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, s, again)
	}
	_, err := identity.State(0).MarshalText()
	require.ErrorContains(t, err, "pending, active, retired")
	_, err = identity.Origin(7).MarshalText()
	require.Error(t, err)
	assert.Equal(t, "WarningKind(0)", identity.WarningKind(0).String())
}
