package stream_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

func bucket(t *testing.T, b *broker, name string) *stream.Bucket {
	t.Helper()
	opened, err := stream.OpenBucket(t.Context(), b.js, name, quiet())
	require.NoError(t, err)
	return opened
}

func TestABucketWritesByCompareAndSet(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		kv := bucket(t, b, stream.IdentityBucket)
		ctx := t.Context()

		_, err := kv.Get(ctx, "identity.default")
		require.ErrorIs(t, err, stream.ErrNoEntry)
		first, err := kv.Create(ctx, "identity.default", []byte("one"))
		require.NoError(t, err)
		_, err = kv.Create(ctx, "identity.default", []byte("other"))
		require.ErrorIs(t, err, stream.ErrConflict)
		_, err = kv.Update(ctx, "identity.default", []byte("other"), 0)
		require.ErrorIs(t, err, stream.ErrConflict)
		second, err := kv.Update(ctx, "identity.default", []byte("two"), first)
		require.NoError(t, err)
		_, err = kv.Update(ctx, "identity.default", []byte("late"), first)
		require.ErrorIs(t, err, stream.ErrConflict)
		entry, err := kv.Get(ctx, "identity.default")
		require.NoError(t, err)
		assert.Equal(t, stream.Entry{Key: "identity.default", Value: []byte("two"), Revision: second, Created: time.Now().UTC()}, entry)

		require.NoError(t, kv.Delete(ctx, "identity.default"))
		_, err = kv.Get(ctx, "identity.default")
		require.ErrorIs(t, err, stream.ErrNoEntry)
		_, err = kv.Update(ctx, "identity.default", []byte("again"), 0)
		require.NoError(t, err, "a key that was deleted can be made again")
	})
}

func TestABucketIsListedByPrefixAndFollowed(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		kv := bucket(t, b, stream.IdentityBucket)
		for _, key := range []string{"identity.b", "identity.a", "rotation.b.1.acme.orders"} {
			_, err := kv.Create(t.Context(), key, []byte(key))
			require.NoError(t, err)
		}
		require.NoError(t, kv.Delete(t.Context(), "identity.a"))
		listed, err := kv.List(t.Context(), "identity.*")
		require.NoError(t, err)
		require.Len(t, listed, 1)
		assert.Equal(t, "identity.b", listed[0].Key)

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		seen := make(chan stream.Entry, 16)
		ready := make(chan struct{})
		go kv.Follow(ctx, func(e stream.Entry) { seen <- e }, func() { close(ready) })
		<-ready
		before := map[string]bool{}
		for len(seen) > 0 {
			e := <-seen
			before[e.Key] = !e.Removed
		}
		assert.Equal(t, map[string]bool{"identity.a": false, "identity.b": true, "rotation.b.1.acme.orders": true}, before)
		_, err = kv.Create(t.Context(), "identity.c", []byte("new"))
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, seen, 1)
		assert.Equal(t, "new", string((<-seen).Value))
	})
}
