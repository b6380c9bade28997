package stream_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

func planServer(t *testing.T) jetstream.JetStream {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	nc, err := nats.Connect("", server.Option())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

func differing(changes []stream.Change) []stream.Change {
	var out []stream.Change
	for _, c := range changes {
		if c.Create || len(c.Fields) > 0 {
			out = append(out, c)
		}
	}
	return out
}

func TestPlanIsWhatApplyDoes(t *testing.T) {
	js := planServer(t)
	small := stream.Topology{Partitions: 2, MaxBytes: 1 << 20}

	changes, err := small.Plan(t.Context(), js)
	require.NoError(t, err)
	require.Len(t, changes, 6+4+6, "streams, consumers, buckets")
	for _, c := range changes {
		assert.True(t, c.Create, "%s %s", c.Kind, c.Name)
	}
	_, err = stream.LoadTopology(t.Context(), js)
	require.ErrorIs(t, err, stream.ErrNoTopology, "a plan changes nothing")

	require.NoError(t, small.Apply(t.Context(), js))
	changes, err = small.Plan(t.Context(), js)
	require.NoError(t, err)
	assert.Empty(t, differing(changes), "applied, nothing is left to do")

	large := small
	large.MaxBytes = 2 << 20
	changes, err = large.Plan(t.Context(), js)
	require.NoError(t, err)
	grown := []stream.FieldChange{{Name: "max_bytes", Old: "1048576", New: "2097152"}}
	assert.Equal(t, []stream.Change{
		{Kind: "stream", Name: stream.Events, Fields: grown},
		{Kind: "stream", Name: stream.Deliveries, Fields: grown},
		{Kind: "stream", Name: stream.Backlog, Fields: grown},
		{Kind: "stream", Name: stream.DeadLetters, Fields: grown},
		{Kind: "stream", Name: stream.Receipts, Fields: grown},
	}, differing(changes))
}

func TestPlanSeesWhatSomebodyElseChanged(t *testing.T) {
	js := planServer(t)
	topology := stream.Topology{Partitions: 1, MaxBytes: 1 << 20}
	require.NoError(t, topology.Apply(t.Context(), js))

	consumer, err := js.Consumer(t.Context(), stream.Events, stream.SignerConsumer)
	require.NoError(t, err)
	config := consumer.CachedInfo().Config
	config.MaxAckPending = 1
	_, err = js.UpdateConsumer(t.Context(), stream.Events, config)
	require.NoError(t, err)
	require.NoError(t, js.DeleteKeyValue(t.Context(), stream.IdentityBucket))

	changes, err := topology.Plan(t.Context(), js)
	require.NoError(t, err)
	assert.Equal(t, []stream.Change{
		{Kind: "consumer", Name: "EVENTS/signer", Fields: []stream.FieldChange{{Name: "max_ack_pending", Old: "1", New: "4096"}}},
		{Kind: "bucket", Name: stream.IdentityBucket, Create: true},
	}, differing(changes))
	require.NoError(t, topology.Apply(t.Context(), js))
	changes, err = topology.Plan(t.Context(), js)
	require.NoError(t, err)
	assert.Empty(t, differing(changes))
}

func TestPlanTellsEveryRefusal(t *testing.T) {
	js := planServer(t)
	require.NoError(t, stream.Topology{Partitions: 2, MaxBytes: 2 << 20}.Apply(t.Context(), js))

	changes, err := stream.Topology{Partitions: 4, MaxBytes: 1 << 20}.Plan(t.Context(), js)
	var refused *stream.RefusedError
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "stream DELIVERIES is left as it is: it was made with 2 partitions and would get 4")
	require.ErrorContains(t, err, "stream RECEIPTS is left as it is: it may hold 2097152 bytes and would be cut to 1048576")
	assert.NotEmpty(t, differing(changes), "what was asked for is shown beside the refusal")
}
