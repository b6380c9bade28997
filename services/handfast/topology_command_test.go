package main

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

func TestANumberOfPartitionsThatIsLostIsNotGuessed(t *testing.T) {
	address := free(t)
	broker, err := embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: address})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	server := "nats://" + address
	nc, err := nats.Connect(server)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	// What an interrupted one leaves behind: the first stream, and nothing that was named by a partition.
	_, err = js.CreateStream(t.Context(), stream.Topology{Partitions: 2, Replicas: 1, MaxBytes: 1 << 30}.Streams()[0])
	require.NoError(t, err)
	status, _, said := invoke(t, "topology", "apply", "--server", server, "--partitions", "2")
	require.Equal(t, 0, status, said)

	require.NoError(t, js.DeleteStream(t.Context(), stream.Deliveries))
	status, out, said := invoke(t, "topology", "apply", "--server", server)
	assert.Equal(t, 1, status)
	assert.Empty(t, out)
	assert.Contains(t, said, "say with --partitions what it was")
	status, out, said = invoke(t, "topology", "apply", "--server", server, "--partitions", "2")
	require.Equal(t, 0, status, said)
	assert.Contains(t, out, "stream    DELIVERIES               created\n")
}

func TestTopologyTellsEveryRefusalOfAStream(t *testing.T) {
	address := free(t)
	broker, err := embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: address})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	server := "nats://" + address
	status, _, said := invoke(t, "topology", "apply", "--server", server, "--partitions", "2", "--max-bytes", "2GiB")
	require.Equal(t, 0, status, said)
	status, _, said = invoke(t, "topology", "apply", "--server", server, "--partitions", "3", "--max-bytes", "1GiB")
	assert.Equal(t, 1, status)
	assert.Contains(t, said, "stream DELIVERIES is left as it is: it was made with 2 partitions and would get 3;")
	assert.Contains(t, said, "stream DELIVERIES is left as it is: it may hold 2147483648 bytes and would be cut to 1073741824\n")
}
