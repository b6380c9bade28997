package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

func paused(d map[string]any) { d["paused"] = true }

// TestAPausedEndpointKeepsItsDeliveries pauses an endpoint with work in every place, and resumes it a day later, after
// everything has been restarted.
func TestAPausedEndpointKeepsItsDeliveries(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 200))
		w.Apply(r.Document("acme", "orders", schedule("10m")))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":0}`) // answered 503: waits in RETRIES
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)

		w.Apply(r.Document("acme", "orders", schedule("10m"), paused))
		w.Pass(time.Second)
		const more = 150 // more than one wake-up signs
		for i := 1; i <= more; i++ {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"order":%d}`, i))
		}
		w.Pass(time.Hour)
		assert.Len(t, r.Hits(), 1, "nothing is sent while it is paused, the retry that was due included")
		assert.Equal(t, more+1, w.Count(stream.Backlog), "everything waits in its backlog")
		assert.Zero(t, w.Count(stream.Retries))
		assert.Zero(t, w.Count(stream.Deliveries))

		w.Stop()
		w.StopBroker()
		w.StartBroker()
		w.Start()
		w.Pass(24 * time.Hour)
		assert.Len(t, r.Hits(), 1, "a restart does not resume it")

		w.Apply(r.Document("acme", "orders", schedule("10m")))
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), more+2, "all of it goes out within a second")
		assert.Zero(t, w.Count(stream.Backlog))
		attempts := map[int]int{}
		for _, got := range w.Receipts()[1:] {
			require.Equal(t, delivery.Delivered, got.Outcome)
			attempts[got.Attempt]++
		}
		assert.Equal(t, map[int]int{1: more, 2: 1}, attempts, "waiting costs no attempt")
		w.Pass(time.Hour)
		assert.Len(t, r.Hits(), more+2, "and nothing twice")
	})
}

// TestPausedTwiceLosesNothing pauses an endpoint again while its delivery, which a resume has just signed, still waits
// for a dispatcher.
func TestPausedTwiceLosesNothing(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		pause := func(p bool) { w.Apply(r.Document("acme", "orders", func(d map[string]any) { d["paused"] = p })) }
		pause(true)
		w.StartSigner(w.Broker.Option())
		w.Pass(time.Second)
		w.Publish("acme", "a.b", `{}`)
		w.Pass(time.Second)
		pause(false) // signed into DELIVERIES; there is no dispatcher yet
		w.Pass(5 * time.Second)
		pause(true)
		w.StartDispatcher(w.Broker.Option())
		w.Pass(20 * time.Second)
		assert.Equal(t, 1, w.Count(stream.Backlog), "parked a second time")
		pause(false)
		w.Pass(time.Hour)
		assert.Len(t, r.Hits(), 1)
	})
}

// TestALongPauseKeepsThePayload pauses an endpoint for longer than events are kept.
func TestALongPauseKeepsThePayload(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.TendInterval = time.Minute
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", paused))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		for range 8 {
			w.Sleep(25*time.Hour - 10*time.Minute)
			w.Start()
			w.Pass(10 * time.Minute)
		}
		require.Zero(t, w.Count(stream.Events), "the event has aged out")
		require.Equal(t, 1, w.Count(stream.Backlog))
		w.Apply(r.Document("acme", "orders"))
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		assert.Contains(t, string(r.Hits()[0].Body), `{"order":1}`)
	})
}
