package stream_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// counter counts warnings.
type counter struct{ warnings atomic.Int64 }

func (c *counter) Enabled(context.Context, slog.Level) bool { return true }

func (c *counter) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		c.warnings.Add(1)
	}
	return nil
}

func (c *counter) WithAttrs([]slog.Attr) slog.Handler { return c }

func (c *counter) WithGroup(string) slog.Handler { return c }

func TestALoopSurvivesTrouble(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		var got atomic.Int64
		slots, log := stream.NewSlots(100), &counter{}
		loop := pulling(t, b, slots, func(msg jetstream.Msg) {
			got.Add(1)
			slots.Release(1)
			ack(t, msg)
		})
		loop.Logger = slog.New(log)
		stop := running(loop)
		pass(time.Second)
		require.NoError(t, b.js.DeleteConsumer(t.Context(), stream.Deliveries, stream.PartitionConsumer(1)))
		pass(10 * time.Minute)
		warnings := log.warnings.Load()
		assert.Positive(t, warnings, "it is told")
		assert.Less(t, warnings, int64(200), "and does not spin")
		require.NoError(t, topology.Apply(t.Context(), b.js))
		preload(t, b, 10)
		pass(10 * time.Second)
		assert.EqualValues(t, 10, got.Load(), "when it is mended, it goes on by itself")
		stop()
		n, err := slots.Reserve(t.Context(), 100)
		require.NoError(t, err)
		assert.Equal(t, 100, n)
	})
}
