package identity_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAnIdentityThatWasLostMayComeBackAtALowerRevision: its bucket was made again, and counts from the beginning.
func TestAnIdentityThatWasLostMayComeBackAtALowerRevision(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	b := newShelf(vault)
	record := created(t, "default", ca, vault, now)
	b.put(t, record, 50)
	source, found := b.Source("default")
	require.True(t, found)
	b.Lose(t.Context(), record.Key())
	refused(t, source, "was lost with its bucket")
	b.Lose(t.Context(), "identity.another")
	b.Lose(t.Context(), "foreign")
	b.put(t, record, 1)
	assert.Equal(t, record.Fingerprint(), presented(t, source))
}
