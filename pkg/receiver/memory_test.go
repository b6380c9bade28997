package receiver

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(3)
		swap := func(key string, needed time.Duration) error {
			ok, err := m.Swap(t.Context(), key, nil, []byte(key), Keep{Needed: needed, Useful: 24 * time.Hour})
			assert.Equal(t, err == nil, ok)
			return err
		}
		has := func(key string) bool {
			value, err := m.Get(t.Context(), key)
			require.NoError(t, err)
			return value != nil
		}
		for i, needed := range []time.Duration{3 * time.Minute, time.Minute, 2 * time.Minute} {
			require.NoError(t, swap(strconv.Itoa(i), needed))
		}
		require.ErrorIs(t, swap("x", time.Minute), ErrFull, "all are needed")
		<-time.After(150 * time.Second)
		require.NoError(t, swap("x", time.Hour))
		assert.False(t, has("1"), "unneeded for the longest")
		assert.True(t, has("2"), "not needed, but useful")
		require.NoError(t, swap("y", time.Hour))
		require.ErrorIs(t, swap("z", time.Hour), ErrFull)
		ok, err := m.Swap(t.Context(), "x", []byte("x"), []byte("xx"), Keep{Needed: time.Hour, Useful: time.Hour})
		require.NoError(t, err, "what is there can change when it is full")
		assert.True(t, ok)
		assert.True(t, has("0"))

		<-time.After(25 * time.Hour)
		assert.False(t, has("0"))
		require.NoError(t, swap("0", time.Hour), "what is past counts as nothing")
		require.NoError(t, swap("z", time.Hour))
		assert.LessOrEqual(t, len(m.items), 3)
		assert.Len(t, m.queue.line, len(m.items))
	})
}

func TestMemoryKeepsItsOwnBytes(t *testing.T) {
	m := NewMemory(0)
	value := []byte("v")
	ok, err := m.Swap(t.Context(), "k", nil, value, Keep{Needed: time.Hour, Useful: time.Hour})
	require.NoError(t, err)
	require.True(t, ok)
	value[0] = 'x'
	got, err := m.Get(t.Context(), "k")
	require.NoError(t, err)
	got[0] = 'y'
	got, err = m.Get(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, "v", string(got))
}
