package stream

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// TestAReplacedScheduleIsLeftAlone is the race of the sweeper with a dispatcher: between its look and its publish, the
// schedule has been replaced by that of the next attempt, or has fired.
func TestAReplacedScheduleIsLeftAlone(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer server.Stop()
	nc, err := nats.Connect("", server.Option())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	topology, err := Topology{Partitions: 1}.Fill()
	require.NoError(t, err)
	retries, err := js.CreateStream(t.Context(), topology.Streams()[2])
	require.NoError(t, err)

	r := delivery.Retry{Delivery: "msg_1", Tenant: "acme", Endpoint: "orders", Event: 1, Attempt: 2, First: time.Now(), Outcome: delivery.TimedOut}
	put := func(attempt int) *jetstream.RawStreamMsg {
		r.Attempt = attempt
		msg, _, err := topology.ScheduleMessage(r, time.Now().Add(time.Hour), "")
		require.NoError(t, err)
		ack, err := js.PublishMsg(t.Context(), msg)
		require.NoError(t, err)
		stored, err := retries.GetMsg(t.Context(), ack.Sequence)
		require.NoError(t, err)
		return stored
	}
	seen := put(2)
	put(3)
	sequence, err := again(t.Context(), js, seen)
	require.NoError(t, err)
	assert.Zero(t, sequence)
	data, found, err := topology.Scheduled(t.Context(), retries, seen.Subject)
	require.NoError(t, err)
	require.True(t, found)
	standing, err := delivery.ParseRetry(data)
	require.NoError(t, err)
	assert.Equal(t, 3, standing.Attempt, "the later one stands")

	require.NoError(t, retries.Purge(t.Context(), jetstream.WithPurgeSubject(seen.Subject)))
	sequence, err = again(t.Context(), js, seen)
	require.NoError(t, err)
	assert.Zero(t, sequence)
	_, found, err = topology.Scheduled(t.Context(), retries, seen.Subject)
	require.NoError(t, err)
	assert.False(t, found, "one that has fired does not come back")
}

func TestParseScheduleAt(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 9, 0, 0, 1, time.UTC)
	got, err := parseScheduleAt(scheduleAt(at.In(time.FixedZone("", 3600))))
	require.NoError(t, err)
	assert.Equal(t, at, got)
	for _, bad := range []string{"", "@at", "@at ", "@every 1h", "2026-11-24T09:00:00Z", "@at tomorrow", "at 2026-11-24T09:00:00Z"} {
		_, err := parseScheduleAt(bad)
		require.ErrorContains(t, err, "schedule", bad)
	}
}
