package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

// behind reads from a replica that has not heard of the latest writes yet, as direct gets may.
type behind struct {
	jetstream.JetStream

	until time.Time
}

func (b behind) KeyValue(ctx context.Context, name string) (jetstream.KeyValue, error) {
	kv, err := b.JetStream.KeyValue(ctx, name)
	return &oldBucket{KeyValue: kv, until: b.until, seen: map[string]jetstream.KeyValueEntry{}}, err
}

type oldBucket struct {
	jetstream.KeyValue

	until time.Time
	seen  map[string]jetstream.KeyValueEntry
}

func (b *oldBucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	if old, ok := b.seen[key]; ok && time.Now().Before(b.until) {
		return old, nil
	}
	entry, err := b.KeyValue.Get(ctx, key)
	if err == nil {
		b.seen[key] = entry
	}
	return entry, err
}

// TestAStatusIsWrittenAlthoughAReplicaIsBehind has reads lag behind writes for a moment.
func TestAStatusIsWrittenAlthoughAReplicaIsBehind(t *testing.T) {
	withStatuses(t, func(s *statuses) {
		t := s.t
		s.hold(time.Now(), "refused")
		catalogue, err := s.topology.OpenCatalogue(t.Context(), behind{s.js, time.Now().Add(200 * time.Millisecond)}, quiet())
		require.NoError(t, err)
		_, err = catalogue.Hold(t.Context(), orders(), endpoint.Held{}) // reads, and changes nothing
		require.NoError(t, err)
		s.disable(s.revision, "HTTP 410") // by another one
		require.NoError(t, catalogue.Release(t.Context(), orders()))
		got := s.stands()
		assert.Nil(t, got.Held)
		assert.NotNil(t, got.Disabled, "what others wrote stays")
	})
}
