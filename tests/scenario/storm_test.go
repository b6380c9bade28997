package scenario

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestBacklogsThatGoOutHoldUpNobodyElse resumes more endpoints at once than a signer works on messages at a time, each
// with a backlog that takes its time. Another endpoint's event does not wait for any of them.
func TestBacklogsThatGoOutHoldUpNobodyElse(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const many, each = 24, 60
		w := kit.New(t)
		w.Signer.Concurrency, w.Signer.TendInterval = 8, time.Minute
		waiting := w.Receiver("waiting.example.com", kit.Answer(200))
		other := w.Receiver("other.example.com", kit.Answer(200))
		document := func(i int, changes ...func(map[string]any)) []byte {
			return waiting.Document("acme", fmt.Sprintf("orders-%d", i), changes...)
		}
		for i := range many {
			w.Apply(document(i, paused))
		}
		w.Apply(other.Document("other", "orders"))
		near := w.StartSigner(w.Broker.Option())
		w.Pass(time.Second)
		for i := range each {
			w.Publish("acme", created, fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(time.Second)
		require.Equal(t, many*each, w.Count(stream.Backlog))
		near.Stop()
		w.StartSigner(afar(t, w, 50*time.Millisecond))
		w.StartDispatcher(w.Broker.Option())
		w.Pass(10 * time.Second)
		for i := range many {
			w.Apply(document(i))
		}
		w.Pass(4 * time.Second)
		for i := range 5 {
			w.Publish("other", created, fmt.Sprintf(`{"n":%d}`, i))
			w.Pass(time.Second)
		}
		assert.Len(t, other.Hits(), 5, "each within a second, while the backlogs go out")
		assert.NotZero(t, w.Count(stream.Backlog))
		w.Pass(10 * time.Minute)
		assert.Len(t, waiting.Hits(), many*each, "all of them come to their end")
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}

// TestWhatCannotBeSettledTakesNobodysRoom takes the stream of dead letters away while one endpoint turns everything down.
// Its deliveries wait for the stream; those of another endpoint go on.
func TestWhatCannotBeSettledTakesNobodysRoom(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const many = 500
		w := kit.New(t)
		w.Dispatcher.Slots = 512
		refusing := w.Receiver("refusing.example.com", kit.Answer(400))
		other := w.Receiver("other.example.com", kit.Answer(200))
		names := sharing(w.Topology.Partitions, 2)
		w.Apply(refusing.Document("acme", names[0], types("refused")))
		w.Apply(other.Document("acme", names[1], types("taken")))
		w.Start()
		w.Pass(time.Second)
		require.NoError(t, w.JS.DeleteStream(t.Context(), stream.DeadLetters))
		for i := range many {
			w.Publish("acme", "refused", fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(time.Minute)
		for i := range 5 {
			w.Publish("acme", "taken", fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(5 * time.Second)
		assert.Len(t, other.Hits(), 5)
		remake(t, w, stream.DeadLetters)
		w.Pass(10 * time.Minute)
		assert.Equal(t, many, w.Count(stream.DeadLetters), "nothing is lost")
		assert.Len(t, refusing.Hits(), many, "and nothing is sent twice")
		assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}

// TestReceiversThatHangTogetherTakeNobodysRoom: together they would hold more messages than a dispatcher has room for.
func TestReceiversThatHangTogetherTakeNobodysRoom(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const many, each = 50, 20
		w := kit.New(t)
		w.Dispatcher.Slots = 512
		hanging := w.Receiver("hanging.example.com", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		other := w.Receiver("other.example.com", kit.Answer(200))
		for i := range many {
			w.Apply(hanging.Document("acme", fmt.Sprintf("orders-%d", i), schedule("1m", "1m", "1m"), limits(8, "15s")))
		}
		w.Apply(other.Document("other", "orders"))
		w.Start()
		w.Pass(time.Second)
		for i := range each {
			w.Publish("acme", created, fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(time.Second)
		for i := range 30 {
			w.Publish("other", created, fmt.Sprintf(`{"n":%d}`, i))
			w.Pass(time.Second)
		}
		slowest := time.Duration(0)
		count := 0
		for _, got := range w.Receipts() {
			if got.Tenant == "other" {
				count++
				slowest = max(slowest, got.At.Add(got.Duration).Sub(got.First))
			}
		}
		t.Logf("%d delivered, the slowest within %s", count, slowest)
		assert.Equal(t, 30, count)
		assert.Less(t, slowest, 2*time.Second, "so long it takes at the beginning to find out that they hang")
	})
}

// TestHoldsThatCannotBeStoredTakeNobodysRoom has very many receivers refuse us while the bucket of endpoints takes no
// writes. Their deliveries wait all the same, and go out when both are mended.
func TestHoldsThatCannotBeStoredTakeNobodysRoom(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const many, each = 300, 2
		w := kit.New(t)
		w.Dispatcher.Slots, w.Signer.TendInterval = 512, time.Minute
		door := kit.NewDoor(kit.ByAlert)
		refusing := w.Guarded("refusing.example.com", door, kit.Answer(200))
		other := w.Receiver("other.example.com", kit.Answer(200))
		for i := range many {
			w.Apply(refusing.Document("acme", fmt.Sprintf("orders-%d", i), limits(8, "10s")))
		}
		w.Apply(other.Document("other", "orders"))
		w.Start()
		w.Pass(time.Second)
		writable := closeBucket(t, w, stream.EndpointBucket)
		for i := range each {
			w.Publish("acme", created, fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(time.Minute)
		for i := range 100 {
			w.Publish("other", created, fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(5 * time.Second)
		assert.Len(t, other.Hits(), 100)
		assert.Empty(t, refusing.Hits())
		writable()
		door.Accept(kit.ClientName)
		w.Pass(3 * time.Hour)
		assert.Len(t, refusing.Hits(), many*each)
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.Retries)+w.Count(stream.Deliveries)+w.Count(stream.DeadLetters))
	})
}

// closeBucket lets a bucket take no more writes until the returned function is called.
func closeBucket(t *testing.T, w *kit.World, name string) (writable func()) {
	t.Helper()
	bucket, err := w.JS.Stream(t.Context(), "KV_"+name)
	require.NoError(t, err)
	config := bucket.CachedInfo().Config
	closed := config
	closed.MaxMsgSize = 1
	_, err = w.JS.UpdateStream(t.Context(), closed)
	require.NoError(t, err)
	return func() {
		_, err := w.JS.UpdateStream(t.Context(), config)
		require.NoError(t, err)
	}
}

// remake makes a stream that was deleted, and its consumers, as `handfast topology apply` does. That touches the others,
// too, and the broker would throw away at once what is in them: it finds out how old that is by another clock than ours.
func remake(t *testing.T, w *kit.World, name string) {
	t.Helper()
	for _, config := range w.Topology.Streams() {
		if config.Name == name {
			_, err := w.JS.CreateStream(t.Context(), config)
			require.NoError(t, err)
		}
	}
	for _, config := range w.Topology.Consumers()[name] {
		_, err := w.JS.CreateConsumer(t.Context(), name, config)
		require.NoError(t, err)
	}
}
