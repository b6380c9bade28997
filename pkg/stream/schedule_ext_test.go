package stream_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// late is how long after its time a schedule may fire; the server's timer has a grain of 250 ms.
const late = 300 * time.Millisecond

const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestScheduleMessage(t *testing.T) {
	t.Parallel()
	topology := stream.Topology{Partitions: 32}
	at := time.Date(2026, 11, 24, 10, 0, 0, 1, time.FixedZone("CET", 3600))
	r := retry("msg_1")
	r.Resigned = 3
	msg, id, err := topology.ScheduleMessage(r, at, trace)
	require.NoError(t, err)
	assert.Equal(t, "msg_1.2.3", id, "one for each attempt and signing")
	assert.Equal(t, "retries.at.17.acme.orders.msg_1", msg.Subject)
	assert.Equal(t, []string{"@at 2026-11-24T09:00:00.000000001Z"}, msg.Header["Nats-Schedule"], "to the nanosecond")
	assert.Equal(t, []string{"retries.due.17.acme.orders"}, msg.Header["Nats-Schedule-Target"])
	assert.Equal(t, []string{trace}, msg.Header["traceparent"])
	back, err := delivery.ParseRetry(msg.Data)
	require.NoError(t, err)
	assert.Equal(t, r, back)

	msg, _, err = topology.ScheduleMessage(r, at, "")
	require.NoError(t, err)
	assert.NotContains(t, msg.Header, "traceparent")
	r.Outcome = 0
	_, _, err = topology.ScheduleMessage(r, at, "")
	require.ErrorContains(t, err, "write retry record", "a record that nobody could read again is not written")
}

// fired takes n due messages.
func fired(t *testing.T, b *broker, n int) []jetstream.Msg {
	t.Helper()
	batch, err := b.consumer(t, stream.Retries, stream.DueConsumer).Fetch(n, jetstream.FetchMaxWait(24*time.Hour))
	require.NoError(t, err)
	var all []jetstream.Msg
	for msg := range batch.Messages() {
		require.NoError(t, msg.Ack())
		all = append(all, msg)
	}
	require.NoError(t, batch.Error())
	require.Len(t, all, n)
	return all
}

// TestSchedulesNeverFireEarly puts many of them at odd fractions of seconds, in the past and in the future.
func TestSchedulesNeverFireEarly(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		began := time.Now()
		at := map[delivery.ID]time.Time{}
		for i := range 300 {
			id := delivery.ID(fmt.Sprintf("msg_%d", i))
			at[id] = began.Add(time.Duration(i-20) * 37_123_457 * time.Nanosecond)
			msg, key, err := topology.ScheduleMessage(retry(id), at[id], trace)
			require.NoError(t, err)
			b.send(t, msg, key)
		}
		seen := map[delivery.ID]bool{}
		for _, msg := range fired(t, b, len(at)) {
			r, err := delivery.ParseRetry(msg.Data())
			require.NoError(t, err)
			meta, err := msg.Metadata()
			require.NoError(t, err)
			require.False(t, seen[r.Delivery], "%s has fired twice", r.Delivery)
			seen[r.Delivery] = true
			require.Equal(t, retry(r.Delivery), r)
			require.Equal(t, "retries.due.1.acme.orders", msg.Subject())
			require.Equal(t, trace, msg.Headers().Get("traceparent"), "the trace goes on")
			require.False(t, meta.Timestamp.Before(at[r.Delivery]), "%s fired %s early", r.Delivery, at[r.Delivery].Sub(meta.Timestamp))
			due := at[r.Delivery]
			if due.Before(began) {
				due = began
			}
			require.Less(t, meta.Timestamp.Sub(due), late, "%s", r.Delivery)
		}
		pass(time.Second)
		assert.Zero(t, b.count(t, stream.Retries), "a schedule that has fired is gone")
	})
}

func TestAScheduleIsReplacedAndRepeated(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		began := time.Now()
		put := func(attempt int, after time.Duration) (duplicate bool) {
			r := retry("msg_1")
			r.Attempt = attempt
			msg, id, err := topology.ScheduleMessage(r, began.Add(after), "")
			require.NoError(t, err)
			return b.send(t, msg, id)
		}
		assert.False(t, put(2, time.Minute))
		assert.True(t, put(2, time.Hour), "the same again, after a crash, is known by its id")
		assert.Equal(t, 1, b.count(t, stream.Retries))
		assert.False(t, put(3, 2*time.Minute))
		assert.Equal(t, 1, b.count(t, stream.Retries), "a delivery has one schedule")

		retries := b.stream(t, stream.Retries)
		data, found, err := topology.Scheduled(t.Context(), retries, stream.ScheduleSubject(orders(), "msg_1", topology.Partitions))
		require.NoError(t, err)
		require.True(t, found)
		r, err := delivery.ParseRetry(data)
		require.NoError(t, err)
		assert.Equal(t, 3, r.Attempt)
		_, found, err = topology.Scheduled(t.Context(), retries, stream.ScheduleSubject(orders(), "msg_2", topology.Partitions))
		require.NoError(t, err)
		assert.False(t, found)

		meta, err := fired(t, b, 1)[0].Metadata()
		require.NoError(t, err)
		assert.WithinRange(t, meta.Timestamp, began.Add(2*time.Minute), began.Add(2*time.Minute+late), "only the later one fires")
		pass(2 * time.Hour)
		assert.Zero(t, b.count(t, stream.Retries), "and nothing else ever does")

		// Past the duplicate window the same id is accepted again: then the subject, not the id, keeps it single.
		assert.False(t, put(3, 5*time.Hour))
		assert.Equal(t, 1, b.count(t, stream.Retries))
	})
}

// TestSchedulesOutliveTheBroker stops it while one is due and one is not.
func TestSchedulesOutliveTheBroker(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first := start(t, embedded.Options{Dir: dir})
		topology := apply(t, first)
		began := time.Now()
		for id, after := range map[delivery.ID]time.Duration{"soon": time.Minute, "later": 3 * time.Hour} {
			msg, key, err := topology.ScheduleMessage(retry(id), began.Add(after), "")
			require.NoError(t, err)
			first.send(t, msg, key)
		}
		first.nc.Close()
		first.server.Stop()
		pass(time.Hour)
		second := start(t, embedded.Options{Dir: dir})
		again := time.Now()
		for _, want := range []struct {
			id  delivery.ID
			due time.Time
		}{{"soon", again}, {"later", began.Add(3 * time.Hour)}} {
			msg := fired(t, second, 1)[0]
			r, err := delivery.ParseRetry(msg.Data())
			require.NoError(t, err)
			meta, err := msg.Metadata()
			require.NoError(t, err)
			assert.Equal(t, want.id, r.Delivery)
			assert.WithinRange(t, meta.Timestamp, want.due, want.due.Add(2*late))
		}
	})
}

func ExampleTopology_ScheduleMessage() {
	topology := stream.Topology{Partitions: 32}
	msg, id, err := topology.ScheduleMessage(delivery.Retry{
		Delivery: "msg_1", Tenant: "acme", Endpoint: "orders", Event: 7, Attempt: 2, First: time.Unix(1, 0), Outcome: delivery.Unavailable,
	}, time.Date(2026, 11, 24, 9, 0, 5, 500, time.UTC), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(id, "on", msg.Subject)
	fmt.Println(msg.Header["Nats-Schedule"], "to", msg.Header["Nats-Schedule-Target"])
	// Output:
	// msg_1.2.0 on retries.at.17.acme.orders.msg_1
	// [@at 2026-11-24T09:00:05.0000005Z] to [retries.due.17.acme.orders]
}
