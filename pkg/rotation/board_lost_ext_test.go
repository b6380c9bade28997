package rotation_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatWasLostMayComeBackAtALowerRevision: the bucket was made again, and counts from the beginning.
func TestWhatWasLostMayComeBackAtALowerRevision(t *testing.T) {
	a := started(t)
	b := board(t, a)
	require.Equal(t, "next", b.Presents("default", orders()))
	b.Lose("assignment.default")
	b.Lose(place())
	b.Lose("identity.default")
	assert.Equal(t, "default", b.Presents("default", orders()), "an identity without an assignment stands for itself")
	require.NoError(t, b.PutStatus(place(), encode(t, accepted(a)), 2))
	require.NoError(t, b.PutAssignment("assignment.default", encode(t, a), 1))
	assert.Equal(t, "next", b.Presents("default", orders()))
}
