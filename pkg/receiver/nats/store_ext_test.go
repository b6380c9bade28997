package nats_test

import (
	"testing"
	"time"

	broker "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/receiver/nats"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

func bucket(t *testing.T, ttl time.Duration) (jetstream.KeyValue, *broker.Conn) {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	conn, err := broker.Connect("", server.Option())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "ids", TTL: ttl, History: 1})
	require.NoError(t, err)
	return kv, conn
}

func TestSwap(t *testing.T) {
	kv, conn := bucket(t, time.Hour)
	ctx := t.Context()
	store, err := nats.New(ctx, kv)
	require.NoError(t, err)
	keep := receiver.Keep{Needed: time.Minute, Useful: 2 * time.Hour}
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

	_, err = store.Swap(ctx, "k", []byte("b"), []byte("c"), receiver.Keep{Needed: 2 * time.Hour, Useful: 2 * time.Hour})
	require.ErrorContains(t, err, "forgets after 1h0m0s", "a bucket that forgets too early is no store")

	conn.Close()
	_, err = store.Get(ctx, "k")
	require.ErrorContains(t, err, "NATS store: read", "a failure is not absence")
	_, err = store.Swap(ctx, "k", nil, []byte("c"), keep)
	require.ErrorContains(t, err, "NATS store: write")
}

func TestNewChecksTheBucket(t *testing.T) {
	kv, conn := bucket(t, 0)
	_, err := nats.New(t.Context(), kv)
	require.ErrorContains(t, err, "has no TTL")
	_, err = nats.New(t.Context(), nil)
	require.ErrorContains(t, err, "bucket is missing")
	conn.Close()
	_, err = nats.New(t.Context(), kv)
	require.ErrorContains(t, err, "look at bucket ids")
}
