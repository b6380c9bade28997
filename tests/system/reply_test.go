package system

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// TestAProducerAimsNoAcknowledgement has a producer name other people's subjects as where its acknowledgements shall go.
// NATS does not ask for permission there and writes with the server's rights, so producers have an account of their own.
func TestAProducerAimsNoAcknowledgement(t *testing.T) {
	g := guard(t)
	js, err := jetstream.New(g.as("operator", func(err error) { t.Errorf("the operator may not: %v", err) }))
	require.NoError(t, err)
	require.NoError(t, stream.Topology{Partitions: 2}.Apply(t.Context(), js))
	bucket, err := stream.OpenBucket(t.Context(), js, stream.SigningKeyBucket, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, err = bucket.Create(t.Context(), "0.globex.shop", []byte("sealed"))
	require.NoError(t, err)

	producer := g.as("producer", func(error) {})
	events, err := jetstream.New(producer)
	require.NoError(t, err)
	for n, reply := range []string{"$KV.signing-keys.0.globex.shop", "deliveries.0.globex.shop", "retries.due.0.globex.shop", "$JS.API.STREAM.PURGE.EVENTS"} {
		require.NoError(t, producer.PublishRequest("events.acme.com.acme.order", reply, []byte("x")))
		// What it may do goes on as ever; and when this one is stored, the one before has been answered.
		ack, err := events.PublishMsg(t.Context(), &nats.Msg{Subject: "events.acme.com.acme.order", Data: []byte("y")})
		require.NoError(t, err)
		assert.EqualValues(t, 2*(n+1), ack.Sequence)
	}
	entry, err := bucket.Get(t.Context(), "0.globex.shop")
	require.NoError(t, err)
	assert.Equal(t, "sealed", string(entry.Value), "another tenant's keys")
	for _, name := range []string{stream.Deliveries, stream.Retries} {
		s, err := js.Stream(t.Context(), name)
		require.NoError(t, err)
		assert.Zero(t, s.CachedInfo().State.Msgs, name)
	}
}
