package scenario

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestATenantThatCannotBeSignedForTakesNobodysRoom stores a document by hand, the only scheme of which its policy does not
// allow, and publishes more events for it than the broker leaves with signers at a time. Those of another tenant go on,
// and nothing is lost when the document is mended.
func TestATenantThatCannotBeSignedForTakesNobodysRoom(t *testing.T) {
	const many = 4200
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		refused := w.Receiver("refused.example.com", kit.Answer(200))
		other := w.Receiver("other.example.com", kit.Answer(200))
		w.Apply(other.Document("other", "orders"))
		good := refused.Document("acme", "orders")
		w.Apply(good)
		w.Start()
		w.Pass(time.Second)
		key := endpoint.Key{Tenant: "acme", Name: "orders"}
		kv, err := w.JS.KeyValue(t.Context(), stream.EndpointBucket)
		require.NoError(t, err)
		_, err = kv.Put(t.Context(), stream.EndpointKey(key, w.Topology.Partitions),
			refused.Document("acme", "orders", func(d map[string]any) { d["signature"] = map[string]any{"schemes": []string{"twilio"}} }))
		require.NoError(t, err)
		w.Pass(time.Second)
		for i := range many {
			header := nats.Header{"ce-specversion": {"1.0"}, "ce-id": {strconv.Itoa(i)}, "ce-source": {"/tests"}, "ce-type": {created}, "ce-datacontenttype": {"application/json"}}
			_, err := w.JS.PublishMsgAsync(&nats.Msg{Subject: "events.acme." + created, Header: header, Data: []byte(`{}`)})
			require.NoError(t, err)
		}
		<-w.JS.PublishAsyncComplete()
		w.Pass(30 * time.Second)
		w.Publish("other", created, `{}`)
		w.Pass(20 * time.Second)
		assert.Len(t, other.Hits(), 1, "another tenant's event")
		assert.Empty(t, refused.Hits())
		w.Apply(good)
		w.Pass(5 * time.Minute)
		assert.Len(t, refused.Hits(), many)
		assert.Zero(t, w.Count(stream.DeadLetters)+w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}
