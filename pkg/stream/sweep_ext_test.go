package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

func put(t *testing.T, b *broker, topology stream.Topology, r delivery.Retry, at time.Time) {
	t.Helper()
	msg, id, err := topology.ScheduleMessage(r, at, trace)
	require.NoError(t, err)
	b.send(t, msg, id)
}

// bounded lets a sweep publish only so often: one that chases its own tail would never end, and no time would go by.
type bounded struct {
	jetstream.JetStream

	left int
}

var errTooMany = errors.New("the sweep publishes more than there is")

func (b *bounded) PublishMsg(ctx context.Context, msg *nats.Msg, options ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	b.left--
	if b.left < 0 {
		return nil, errTooMany
	}
	return b.JetStream.PublishMsg(ctx, msg, options...)
}

// sweep is one sweep of the partition of orders.
func sweep(t *testing.T, b *broker, topology stream.Topology, now time.Time) int {
	t.Helper()
	retries := b.stream(t, stream.Retries)
	js := &bounded{JetStream: b.js, left: int(retries.CachedInfo().State.Msgs)}
	freed, err := topology.Sweep(t.Context(), retries, js, 1, now)
	require.NoError(t, err)
	return freed
}

// TestSweepPublishesTheOverdueOnesAgain looks from a moment at which some are overdue, although for the broker they are
// not: so they stay, each with a new sequence, and the sweep must end all the same.
func TestSweepPublishesTheOverdueOnesAgain(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		began := time.Now()
		const overdue, fresh = 50, 5
		for i := range overdue {
			put(t, b, topology, retry(delivery.ID(fmt.Sprintf("late_%d", i))), began.Add(time.Hour))
		}
		for i := range fresh {
			put(t, b, topology, retry(delivery.ID(fmt.Sprintf("fresh_%d", i))), began.Add(2*time.Hour))
		}
		elsewhere := retry("elsewhere") // of another partition
		elsewhere.Endpoint = "invoices"
		put(t, b, topology, elsewhere, began.Add(time.Hour))
		last := b.stream(t, stream.Retries).CachedInfo().State.LastSeq

		assert.Zero(t, sweep(t, b, topology, began.Add(time.Hour+time.Minute)), "a minute late is not late")
		assert.Equal(t, overdue, sweep(t, b, topology, began.Add(time.Hour+time.Minute+1)))
		state := b.stream(t, stream.Retries).CachedInfo().State
		assert.EqualValues(t, overdue+fresh+1, state.Msgs, "each replaced its own")
		assert.Equal(t, last+overdue, state.LastSeq, "once")
		for i := range overdue {
			assertSchedule(t, b, topology, delivery.ID(fmt.Sprintf("late_%d", i)), began.Add(time.Hour))
		}
		assert.Len(t, fired(t, b, overdue+fresh+1), overdue+fresh+1, "and all of them fire")
	})
}

// assertSchedule looks at the one that stands: nothing of it was lost on the way.
func assertSchedule(t *testing.T, b *broker, topology stream.Topology, id delivery.ID, at time.Time) {
	t.Helper()
	msg, err := b.stream(t, stream.Retries).GetLastMsgForSubject(t.Context(), stream.ScheduleSubject(orders(), id, topology.Partitions))
	require.NoError(t, err)
	want, _, err := topology.ScheduleMessage(retry(id), at, trace)
	require.NoError(t, err)
	for name, value := range want.Header {
		require.Equal(t, value, msg.Header[name], name)
	}
	require.Equal(t, want.Data, msg.Data)
}

// TestSweepFreesWhatAFullStoreHolds is the case it is for: the store has no room at the moment when schedules are due, and
// the broker forgets them, room or no room, until they are published again.
func TestSweepFreesWhatAFullStoreHolds(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		const room = 4 << 20
		b := start(t, embedded.Options{Dir: t.TempDir(), MaxStore: room})
		topology, err := stream.Topology{Partitions: 4, MaxBytes: 1 << 20}.Fill()
		require.NoError(t, err)
		// Of the table only RETRIES: the others reserve their bytes.
		for _, config := range topology.Streams() {
			if config.Name == stream.Retries {
				_, err := b.js.CreateStream(t.Context(), config)
				require.NoError(t, err)
			}
		}
		_, err = b.js.CreateConsumer(t.Context(), stream.Retries, topology.Consumers()[stream.Retries][0])
		require.NoError(t, err)
		filler, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FILLER", Subjects: []string{"filler"}})
		require.NoError(t, err)

		began := time.Now()
		const stuck = 20
		for i := range stuck {
			put(t, b, topology, retry(delivery.ID(fmt.Sprintf("msg_%d", i))), began.Add(time.Minute))
		}
		for size := 512 << 10; size > 0; size /= 2 {
			for {
				if _, err := b.js.Publish(t.Context(), "filler", []byte(strings.Repeat("x", size))); err != nil {
					assert.True(t, stream.IsFull(err), "%v", err)
					break
				}
			}
		}
		pass(2 * time.Minute)
		require.NoError(t, filler.Purge(t.Context()))
		pass(10 * time.Minute)
		require.Equal(t, stuck, b.count(t, stream.Retries), "room alone does not free them: if this fails, NATS does it by itself, and the sweeper can go")
		require.Zero(t, b.consumer(t, stream.Retries, stream.DueConsumer).CachedInfo().NumPending)

		assert.Equal(t, stuck, sweep(t, b, topology, time.Now()))
		seen := map[delivery.ID]bool{}
		for _, msg := range fired(t, b, stuck) {
			r, err := delivery.ParseRetry(msg.Data())
			require.NoError(t, err)
			seen[r.Delivery] = true
		}
		assert.Len(t, seen, stuck, "each of them, once")
		pass(time.Minute)
		assert.Zero(t, b.count(t, stream.Retries))
		assert.Zero(t, sweep(t, b, topology, time.Now().Add(time.Hour)), "nothing is left to free")
	})
}

func TestSweepLeavesOtherSchedulesAlone(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		msg, _, err := topology.ScheduleMessage(retry("msg_1"), time.Now(), "")
		require.NoError(t, err)
		msg.Header["Nats-Schedule"] = []string{"@every 1h"}
		b.send(t, msg, "")
		assert.Zero(t, sweep(t, b, topology, time.Now().Add(100*time.Hour)), "what is no @at is not ours to judge")
	})
}

func TestSweepTellsWhereItFailed(t *testing.T) {
	t.Parallel()
	b, topology := applied(t)
	retries := b.stream(t, stream.Retries)
	require.NoError(t, b.js.DeleteStream(t.Context(), stream.Retries))
	_, err := topology.Sweep(t.Context(), retries, b.js, 3, time.Now())
	require.ErrorContains(t, err, "read schedules of partition 3")
	_, _, err = topology.Scheduled(t.Context(), retries, stream.ScheduleSubject(endpoint.Key{Tenant: "a", Name: "b"}, "msg_1", 4))
	require.ErrorContains(t, err, "look for schedule retries.at.1.a.b.msg_1")
}
