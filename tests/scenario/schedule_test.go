package scenario

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// late is how long after its time the broker may fire a schedule (its timer's grain is 250 ms).
const late = 300 * time.Millisecond

// TestTheWholeScheduleToTheDeadLetter follows one delivery through all ten attempts of the standard schedule.
func TestTheWholeScheduleToTheDeadLetter(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(100 * time.Hour)

		hits, receipts := r.Hits(), w.Receipts()
		require.Len(t, hits, 10, "the first attempt and nine retries")
		require.Len(t, receipts, 10)
		policy := delivery.Policy{Schedule: endpoint.StandardSchedule(), Horizon: stream.Horizon}
		waits := []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		}
		assert.WithinDuration(t, receipts[0].First, hits[0].At, late, "the first attempt is made at once")
		for i, got := range receipts {
			assert.Equal(t, i+1, got.Attempt)
			assert.Equal(t, delivery.Unavailable, got.Outcome)
			assert.Equal(t, hits[0].Header.Get("webhook-id"), hits[i].Header.Get("webhook-id"))
			if i == 9 {
				assert.Nil(t, got.Next, "nothing follows the last attempt")
				break
			}
			ended := got.At.Add(got.Duration)
			d := delivery.Delivery{ID: got.Delivery, Endpoint: endpoint.Key{Tenant: "acme", Name: "orders"}, Attempt: got.Attempt, First: got.First}
			want := policy.Next(d, delivery.Verdict{Outcome: delivery.Unavailable}, ended).At
			assert.Equal(t, want.UTC(), got.Next.UTC(), "attempt %d is followed at the exact instant of the policy", got.Attempt)
			assert.GreaterOrEqual(t, want.Sub(ended), waits[i])
			assert.LessOrEqual(t, want.Sub(ended), waits[i]+waits[i]/10)
			assert.False(t, hits[i+1].At.Before(want), "never early")
			assert.Less(t, hits[i+1].At.Sub(want), late)
			assert.NotEqual(t, hits[i].Header.Get("webhook-timestamp"), hits[i+1].Header.Get("webhook-timestamp"))
			assert.NotEqual(t, hits[i].Header.Get("webhook-signature"), hits[i+1].Header.Get("webhook-signature"))
		}
		whole := 75*time.Hour + 35*time.Minute + 5*time.Second
		assert.InDelta(t, (whole + whole/20).Hours(), hits[9].At.Sub(hits[0].At).Hours(), whole.Hours()/20, "75:35:05 plus at most a tenth")
		judgeDead(t, w, hits[0])
	})
}

func judgeDead(t *testing.T, w *kit.World, hit kit.Hit) {
	t.Helper()
	letters := w.DeadLetters()
	require.Len(t, letters, 1)
	var letter delivery.DeadLetter
	require.NoError(t, json.Unmarshal(letters[0], &letter))
	assert.Equal(t, delivery.Unavailable, *letter.Outcome)
	assert.Equal(t, 10, letter.Attempt)
	assert.Contains(t, letter.Reasons[0], "all 10 attempts are used up")
	body, whole := letter.Body.Bytes()
	assert.True(t, whole)
	assert.Equal(t, hit.Body, body, "the dead letter holds the body, byte for byte")
	assert.Equal(t, hit.Header.Get("Content-Type"), letter.Header.Get("Content-Type"))
	assert.Zero(t, w.Count(stream.Deliveries))
	assert.Zero(t, w.Count(stream.Retries))
}

// TestABrokerRestartInTheMiddle stops the broker while a retry waits, longer than the wait.
func TestABrokerRestartInTheMiddle(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 503, 200))
		w.Apply(r.Document("acme", "orders", schedule("10m", "10m")))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(5 * time.Minute)
		require.Len(t, r.Hits(), 1)

		w.Stop()
		w.StopBroker()
		w.Pass(time.Hour)
		w.StartBroker()
		w.Start()
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 2, "the overdue retry comes as soon as it can")
		w.Pass(20 * time.Minute)
		require.Len(t, r.Hits(), 3)
		assert.Equal(t, []delivery.Outcome{delivery.Unavailable, delivery.Unavailable, delivery.Delivered}, w.Outcomes())
		assert.Zero(t, w.Count(stream.Retries))
		assert.Zero(t, w.Count(stream.DeadLetters))
	})
}

// TestAStaleSignatureIsMadeAgain lets a signed request wait too long for a dispatcher.
func TestAStaleSignatureIsMadeAgain(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.StartSigner(w.Broker.Option())
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(3 * time.Minute)
		require.Equal(t, 1, w.Count(stream.Deliveries))
		began := time.Now()
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		hits, receipts := r.Hits(), w.Receipts()
		require.Len(t, hits, 1)
		require.Len(t, receipts, 1, "signing again is no attempt and leaves no receipt")
		assert.Equal(t, 1, receipts[0].Attempt, "and costs none")
		assert.False(t, receipts[0].SignedAt.Before(began), "what was sent had been signed just before")
	})
}

func schedule(waits ...string) func(map[string]any) {
	return func(d map[string]any) { d["retry"] = map[string]any{"schedule": waits} }
}
