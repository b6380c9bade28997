package stream_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// TestAFollowerThatStoodStillReadsAnew stops one, as a machine that is paused does, for longer than the broker keeps its
// mark of a lease that has ended. The connection survives that, and nobody tells of the lease any more.
func TestAFollowerThatStoodStillReadsAnew(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		lease := func(id string, ttl time.Duration) {
			_, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "$KV.dispatchers." + id, Header: nats.Header{}, Data: []byte("{}")}, jetstream.WithMsgTTL(ttl))
			require.NoError(t, err)
		}
		of, h := bucket(t, b, stream.DispatcherBucket), &heard{}
		watch := h.watch()
		tell := watch.Take
		watch.Take = func(e stream.Entry) {
			tell(e)
			if e.Key == "pause" && !e.Removed {
				<-time.After(3 * time.Minute)
			}
		}
		lease("dies", 5*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			of.Watch(ctx, watch)
		}()
		pass(time.Second)
		lease("pause", time.Hour)
		pass(time.Second)
		assert.Equal(t, []string{"begin", "dies={}", "ready", "pause={}"}, h.take())
		pass(3*time.Minute + 2*time.Second)
		assert.Contains(t, h.take(), "dies gone")
		pass(time.Hour - 3*time.Minute - 10*time.Second)
		assert.Empty(t, h.take(), "once is enough")
		cancel()
		<-ended
	})
}
