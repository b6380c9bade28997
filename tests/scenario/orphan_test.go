package scenario

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestWhatTheBrokerLeavesBehindIsAdopted makes an orphan: a signed request that its consumer has behind it although
// nobody was given it, as a crash of the broker can leave one.
func TestWhatTheBrokerLeavesBehindIsAdopted(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Dispatcher.SweepInterval = time.Minute
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.StartSigner(w.Broker.Option())
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(time.Second)
		deliveries, err := w.JS.Stream(t.Context(), stream.Deliveries)
		require.NoError(t, err)
		last := deliveries.CachedInfo().State.LastSeq
		require.EqualValues(t, 1, deliveries.CachedInfo().State.Msgs)
		consumer := stream.PartitionConsumer(stream.Partition(endpoint.Key{Tenant: "acme", Name: "orders"}, w.Topology.Partitions))
		_, err = w.JS.ResetConsumerToSequence(t.Context(), stream.Deliveries, consumer, last+1)
		require.NoError(t, err)

		w.StartDispatcher(w.Broker.Option())
		w.Pass(30 * time.Second)
		require.Empty(t, r.Hits(), "no consumer gives it to anybody")
		require.Equal(t, 1, w.Count(stream.Deliveries))
		w.Pass(3 * time.Minute)
		require.Len(t, r.Hits(), 1, "the second sweep that sees it sends it on its way")
		assert.Equal(t, []delivery.Outcome{delivery.Delivered}, w.Outcomes())
		assert.Equal(t, 1, w.Receipts()[0].Attempt)
		assert.Zero(t, w.Count(stream.Deliveries))
		assert.Zero(t, w.Count(stream.Retries))
	})
}
