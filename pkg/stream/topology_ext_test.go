package stream_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

const golden = "testdata/topology.golden.json"

// TestTheTopologyIsTheTable compares everything that is set up on a server with the golden file. A change of that file is
// a change for every installation: streams, consumers and buckets exist there already. GOLDEN=write writes it.
func TestTheTopologyIsTheTable(t *testing.T) {
	t.Parallel()
	topology, err := stream.Topology{Partitions: 2, Replicas: 3}.Fill()
	require.NoError(t, err)
	got, err := json.MarshalIndent(map[string]any{
		"streams": topology.Streams(), "consumers": topology.Consumers(), "buckets": topology.Buckets(),
	}, "", "  ")
	require.NoError(t, err)
	if os.Getenv("GOLDEN") == "write" {
		require.NoError(t, os.WriteFile(golden, append(got, '\n'), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))
}

// TestTheTableKeepsItsPromises states, apart from the golden file, what must not be changed even together with it.
func TestTheTableKeepsItsPromises(t *testing.T) {
	t.Parallel()
	topology, err := stream.Topology{}.Fill()
	require.NoError(t, err)
	streams := map[string]jetstream.StreamConfig{}
	for _, config := range topology.Streams() {
		streams[config.Name] = config
		assert.Equal(t, jetstream.FileStorage, config.Storage, config.Name)
		assert.Equal(t, config.Name == stream.Retries, config.AllowMsgSchedules,
			"schedules write their target's subject: they stand in a stream of their own, so that nobody forges a delivery")
	}
	assert.Len(t, streams, 6)
	for _, name := range []string{stream.Events, stream.Deliveries, stream.Backlog} {
		assert.Equal(t, jetstream.DiscardNew, streams[name].Discard, "%s refuses when it is full and throws nothing away", name)
	}
	retries := streams[stream.Retries]
	assert.Negative(t, retries.MaxBytes, "a bound would delete schedules silently")
	assert.Negative(t, retries.MaxMsgs)
	assert.Negative(t, retries.MaxMsgsPerSubject)
	assert.Zero(t, retries.MaxAge)
	assert.Equal(t, jetstream.DiscardOld, retries.Discard, "NATS does not combine schedules with DiscardNew")
	assert.EqualValues(t, 1, streams[stream.DeadLetters].MaxMsgsPerSubject, "one dead letter of a delivery")
	assert.GreaterOrEqual(t, streams[stream.Events].MaxAge, stream.Horizon+time.Hour, "an event outlives the retries that rely on it")

	for name, consumers := range topology.Consumers() {
		for _, config := range consumers {
			assert.Equal(t, -1, config.MaxDeliver, "retries are ours: %s", config.Durable)
			assert.Equal(t, jetstream.AckExplicitPolicy, config.AckPolicy, config.Durable)
			assert.Empty(t, config.InactiveThreshold, "%s is for ever", config.Durable)
			if name == stream.Deliveries {
				assert.Equal(t, jetstream.PriorityPolicyPrioritized, config.PriorityPolicy)
				assert.Equal(t, []string{stream.PriorityGroup}, config.PriorityGroups)
			}
		}
	}
	assert.Len(t, topology.Consumers()[stream.Deliveries], stream.DefaultPartitions)
	assert.GreaterOrEqual(t, streams[stream.Deliveries].MaxConsumers, stream.MaxPartitions)
}

// TestTheStandardScheduleNeedsNoInlinePayload: only retries that are longer than usual carry their payload.
func TestTheStandardScheduleNeedsNoInlinePayload(t *testing.T) {
	t.Parallel()
	var whole time.Duration
	for _, wait := range endpoint.StandardSchedule() {
		whole += wait + wait/10
	}
	assert.Less(t, whole, stream.Horizon)
}

func TestFill(t *testing.T) {
	t.Parallel()
	filled, err := stream.Topology{}.Fill()
	require.NoError(t, err)
	assert.Equal(t, stream.Topology{Partitions: 32, Replicas: 1, MaxBytes: 1 << 30}, filled)
	for _, good := range []stream.Topology{{Partitions: 1}, {Partitions: 256}, {Replicas: 3}, {Replicas: 5}, {MaxBytes: 1 << 20}} {
		_, err := good.Fill()
		require.NoError(t, err)
	}
	for says, bad := range map[string]stream.Topology{
		"-1 partitions":  {Partitions: -1},
		"257 partitions": {Partitions: 257},
		"2 replicas":     {Replicas: 2},
		"-1 replicas":    {Replicas: -1},
		"7 replicas":     {Replicas: 7},
		"1048575 bytes":  {MaxBytes: 1<<20 - 1},
		"-1 bytes":       {MaxBytes: -1},
	} {
		_, err := bad.Fill()
		require.ErrorContains(t, err, says)
	}
	_, err = stream.Topology{Partitions: 500, Replicas: 2, MaxBytes: 5}.Fill()
	require.Error(t, err)
	for _, says := range []string{"500 partitions", "2 replicas", "5 bytes"} {
		require.ErrorContains(t, err, says, "every error at once")
	}
}
