package operator_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/seal"
)

// TestAMasterKeyIsChanged goes the way of the manual: both keys, everything sealed again, the new one alone.
func TestAMasterKeyIsChanged(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	_, _, err := s.Request(t.Context(), "bank", profile(), false, s.vault)
	require.NoError(t, err)
	s.create(t, "old")
	_, err = s.Retire(t.Context(), "old")
	require.NoError(t, err)
	next := newVault(t)

	_, err = s.Reseal(t.Context(), next)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey, "without the old key nothing can be opened")
	_, err = s.Open(t.Context(), "default", s.vault)
	require.NoError(t, err, "and nothing was changed")

	both := seal.Vault{Current: next.Current, Previous: []seal.MasterKey{s.vault.Current}}
	result, err := s.Reseal(t.Context(), both)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"identity default", "identity bank", "authority main"}, result.Changed)
	assert.Equal(t, 1, result.Kept, "the retired one has no key")
	_, err = s.Open(t.Context(), "default", next)
	require.NoError(t, err)
	_, err = s.Open(t.Context(), "default", s.vault)
	require.Error(t, err, "the old key opens nothing any more")

	again, err := s.Reseal(t.Context(), both)
	require.NoError(t, err)
	assert.Empty(t, again.Changed)
	assert.Equal(t, 4, again.Kept)
}
