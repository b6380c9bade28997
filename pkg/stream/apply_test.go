package stream

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSafeChange holds the cases that a single embedded server cannot be brought into.
func TestSafeChange(t *testing.T) {
	t.Parallel()
	config := func(replicas int) jetstream.StreamConfig {
		filled, err := Topology{Replicas: replicas}.Fill()
		require.NoError(t, err)
		return filled.Streams()[1]
	}
	for have, wants := range map[int][]int{1: {1, 3, 5}, 3: {3, 5}, 5: {5}} {
		for _, want := range wants {
			require.NoError(t, safeChange(config(have), config(want)), "%d to %d", have, want)
		}
	}
	for _, pair := range [][2]int{{3, 1}, {5, 1}, {5, 3}} {
		err := safeChange(config(pair[0]), config(pair[1]))
		require.ErrorContains(t, err, strconv.Itoa(pair[0])+" replicas and would get "+strconv.Itoa(pair[1]))
	}
	have := config(1)
	have.Storage = jetstream.MemoryStorage
	require.ErrorContains(t, safeChange(have, config(1)), "stores in Memory and would store in File")
	have = config(1)
	have.MaxMsgs = 10
	require.NoError(t, safeChange(have, config(1)), "a bound that goes away")
	require.ErrorContains(t, safeChange(config(1), have), "would be cut to 10")
	have = config(1)
	have.Metadata = nil
	require.Error(t, safeChange(have, config(1)), "it was made by somebody else")
	assert.NoError(t, safeChange(config(1), config(1)))
}
