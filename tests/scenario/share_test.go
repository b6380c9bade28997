package scenario

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// slowly answers after a while.
func slowly(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(d)
		w.WriteHeader(http.StatusOK)
	}
}

// sharing finds names of endpoints that lie in one partition.
func sharing(partitions, n int) []string {
	var names []string
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprintf("endpoint-%d", i)
		if stream.Partition(endpoint.Key{Tenant: "acme", Name: name}, partitions) == 0 {
			names = append(names, name)
		}
	}
	return names
}

func types(pattern string) func(map[string]any) {
	return func(d map[string]any) { d["filter"] = map[string]any{"types": []string{pattern}} }
}

func limits(concurrency int, timeout string) func(map[string]any) {
	return func(d map[string]any) { d["limits"] = map[string]any{"concurrency": concurrency, "timeout": timeout} }
}

// TestASlowEndpointDelaysNobodyElse floods an endpoint that answers slowly, beside a fast one in the same partition.
func TestASlowEndpointDelaysNobodyElse(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Dispatcher.Slots = 512 // fewer than the flood
		names := sharing(w.Topology.Partitions, 2)
		slow := w.Receiver("slow.example.com", slowly(time.Second))
		fast := w.Receiver("fast.example.com", kit.Answer(200))
		w.Apply(slow.Document("acme", names[0], types("flood"), limits(16, "10s")))
		w.Apply(fast.Document("acme", names[1], types("drop"), limits(2, "10s")))
		w.Start()
		w.Pass(time.Second)
		for i := range 1200 {
			w.Publish("acme", "flood", fmt.Sprintf(`{"n":%d}`, i))
		}
		for i := range 20 {
			w.Publish("acme", "drop", fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(3 * time.Second)
		assert.Len(t, fast.Hits(), 20, "the fast endpoint has everything while the slow one has hardly begun")
		assert.Less(t, len(slow.Hits()), 80)

		w.Pass(time.Hour)
		seen := map[string]int{}
		for _, hit := range slow.Hits() {
			seen[hit.Header.Get("webhook-id")]++
		}
		assert.Len(t, seen, 1200, "the slow one has everything in the end")
		assert.Len(t, slow.Hits(), 1200, "and nothing twice")
		for _, got := range w.Receipts() {
			require.Equal(t, delivery.Delivered, got.Outcome)
			require.Equal(t, 1, got.Attempt, "waiting costs no attempt")
		}
		assert.Zero(t, w.Count(stream.Retries))
		assert.Zero(t, w.Count(stream.Deliveries))
	})
}

// TestAnotherDispatcherTakesOver kills one of two dispatchers in the middle of its work.
func TestAnotherDispatcherTakesOver(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", slowly(20*time.Millisecond))
		const endpoints, events = 8, 25
		for i := range endpoints {
			w.Apply(r.Document("acme", fmt.Sprintf("orders-%d", i), limits(2, "5s")))
		}
		w.StartSigner(w.Broker.Option())
		first, second := w.StartDispatcher(w.Broker.Option()), w.StartDispatcher(w.Broker.Option())
		w.Pass(time.Second)
		for i := range events {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"order":%d}`, i))
		}
		w.Pass(100 * time.Millisecond)
		before := len(r.Hits())
		assert.Positive(t, before)
		assert.Less(t, before, endpoints*events, "work is under way")
		first.Kill()
		w.Pass(time.Second)
		assert.Greater(t, len(r.Hits()), before, "the other one goes on at once")
		w.Pass(10 * time.Minute)

		seen := map[string]int{}
		twice := 0
		for _, hit := range r.Hits() {
			id := hit.Header.Get("webhook-id")
			seen[id]++
			if seen[id] > 1 {
				twice++
			}
		}
		assert.Len(t, seen, endpoints*events, "nothing is lost")
		assert.LessOrEqual(t, twice, endpoints*2, "only what was under way can come twice")
		assert.Zero(t, w.Count(stream.Deliveries))
		assert.Zero(t, w.Count(stream.Retries))
		second.Stop()
	})
}

// TestAStoppingDispatcherLeavesNothingBehind drains one of two dispatchers under load: nothing waits for AckWait, and
// nothing comes twice.
func TestAStoppingDispatcherLeavesNothingBehind(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Dispatcher.DrainTimeout = 10 * time.Second
		r := w.Receiver("hooks.example.com", slowly(50*time.Millisecond))
		w.Apply(r.Document("acme", "orders", limits(4, "5s")))
		w.StartSigner(w.Broker.Option())
		first := w.StartDispatcher(w.Broker.Option())
		w.Pass(time.Second)
		for i := range 100 {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"order":%d}`, i))
		}
		w.Pass(200 * time.Millisecond)
		began := time.Now()
		first.Stop()
		assert.Less(t, time.Since(began), 5*time.Second)
		w.StartDispatcher(w.Broker.Option())
		w.Pass(10 * time.Second)
		assert.Len(t, r.Hits(), 100, "all of them, none twice, well within AckWait")
		assert.Zero(t, w.Count(stream.Deliveries))
	})
}
