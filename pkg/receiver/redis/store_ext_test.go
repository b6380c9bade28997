package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	client "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/receiver/redis"
)

func open(t *testing.T) (*redis.Store, *miniredis.Miniredis) {
	t.Helper()
	server := miniredis.RunT(t)
	c := client.NewClient(&client.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	store, err := redis.New(c, "")
	require.NoError(t, err)
	return store, server
}

func TestSwap(t *testing.T) {
	store, server := open(t)
	ctx := t.Context()
	keep := receiver.Keep{Needed: time.Minute, Useful: time.Hour}
	swap := func(old, value string) bool {
		var before []byte
		if old != "" {
			before = []byte(old)
		}
		ok, err := store.Swap(ctx, "k", before, []byte(value), keep)
		require.NoError(t, err)
		return ok
	}
	value, err := store.Get(ctx, "k")
	require.NoError(t, err)
	assert.Nil(t, value, "nothing there")
	assert.False(t, swap("a", "b"), "there is nothing to replace")
	assert.True(t, swap("", "a"))
	assert.False(t, swap("", "b"), "somebody was first")
	assert.False(t, swap("b", "c"), "something else is there")
	assert.True(t, swap("a", "b"))
	value, err = store.Get(ctx, "k")
	require.NoError(t, err)
	assert.Equal(t, "b", string(value))

	assert.Equal(t, []string{redis.DefaultPrefix + "k"}, server.Keys())
	assert.Equal(t, time.Hour, server.TTL(redis.DefaultPrefix+"k"), "as long as it is useful")
	server.FastForward(time.Hour)
	assert.True(t, swap("", "c"), "and no longer")
}

func TestFailureIsNotAbsence(t *testing.T) {
	store, server := open(t)
	server.SetError("LOADING Redis is loading the dataset in memory")
	_, err := store.Get(t.Context(), "k")
	require.ErrorContains(t, err, "redis store: read")
	_, err = store.Swap(t.Context(), "k", nil, []byte("v"), receiver.Keep{})
	require.ErrorContains(t, err, "redis store: write")
	server.SetError("")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = store.Get(ended, "k")
	require.ErrorIs(t, err, context.Canceled)
}

func TestNewNeedsAClient(t *testing.T) {
	_, err := redis.New(nil, "")
	require.ErrorContains(t, err, "client is missing")
}
