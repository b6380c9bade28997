package scenario

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// spaced fails the test when two messages came closer together than the rate allows, and tells how long all took.
func spaced(t *testing.T, hits []kit.Hit, every time.Duration) time.Duration {
	t.Helper()
	for i := 1; i < len(hits); i++ {
		require.GreaterOrEqual(t, hits[i].At.Sub(hits[i-1].At), every, "message %d of %d", i, len(hits))
	}
	if len(hits) == 0 {
		return 0
	}
	return hits[len(hits)-1].At.Sub(hits[0].At)
}

func allDelivered(t *testing.T, w *kit.World, n int) {
	t.Helper()
	receipts := w.Receipts()
	assert.Len(t, receipts, n)
	for _, got := range receipts {
		require.Equal(t, delivery.Delivered, got.Outcome)
		require.Equal(t, 1, got.Attempt, "waiting for a turn is no attempt")
	}
	assert.Zero(t, w.Count(stream.Deliveries)+w.Count(stream.Retries)+w.Count(stream.Backlog)+w.Count(stream.DeadLetters))
}

func TestTheAllowedRateIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		rate        string
		every       time.Duration
		concurrency int
		messages    int
	}{
		"one a second, one at a time":              {"60", time.Second, 1, 300},
		"one a second, eight at a time":            {"60", time.Second, 8, 300},
		"ten a second":                             {"600", 100 * time.Millisecond, 8, 600},
		"a number that does not divide a minute":   {"7", time.Minute/7 + 1, 8, 30},
		"a queue of more than an hour":             {"1", time.Minute, 4, 150},
		"one a minute, beyond any signature's age": {"1", time.Minute, 8, 20},
	} {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				r := consent(w, "hooks.example.com")
				r.allow(ourOrigin, c.rate)
				w.Apply(r.Document("acme", "orders", cloudEvents(0), limits(c.concurrency, "10s")))
				w.Start()
				w.Pass(time.Second)
				publish(w, 0, c.messages)
				w.Pass(time.Duration(c.messages) * c.every * 3 / 2)
				w.Pass(time.Minute)
				hits := r.Hits()
				require.Len(t, hits, c.messages)
				took := spaced(t, hits, c.every)
				least := time.Duration(c.messages-1) * c.every
				assert.LessOrEqual(t, took, least+least/10+3*c.every, "the rate is kept, and it is used")
				allDelivered(t, w, c.messages)
			})
		})
	}
}

// TestTheRateIsThatOfAllDispatchersTogether has two dispatchers, one of which comes and goes, by leave and by death.
func TestTheRateIsThatOfAllDispatchersTogether(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Dispatcher.LeaseTTL, w.Dispatcher.FetchWait = 10*time.Second, time.Minute
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "60")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		w.Pass(time.Second)
		const messages = 300
		publish(w, 0, messages)
		for n := range 6 {
			w.Pass(20 * time.Second)
			other := w.StartDispatcher(w.Broker.Option())
			w.Pass(20 * time.Second)
			if n%2 == 0 {
				other.Stop()
			} else {
				other.Kill()
			}
		}
		w.Pass(10 * time.Minute)
		hits := r.Hits()
		seen := map[int]int{}
		for _, n := range numbers(t, hits) {
			seen[n]++
		}
		assert.Len(t, seen, messages)
		spaced(t, hits, time.Second)
		assert.Zero(t, w.Count(stream.Deliveries)+w.Count(stream.Retries)+w.Count(stream.Backlog)+w.Count(stream.DeadLetters))
	})
}

// TestARestartKeepsConsentAndRate restarts the only dispatcher in the middle of the traffic.
func TestARestartKeepsConsentAndRate(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow("*", "30")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		w.Pass(time.Second)
		publish(w, 0, 60)
		for range 3 {
			w.Pass(20*time.Second + 300*time.Millisecond)
			w.Stop()
			w.Start()
		}
		w.Pass(5 * time.Minute)
		assert.Len(t, r.questions(), 1, "consent outlives a process")
		spaced(t, r.Hits(), 2*time.Second)
		assert.Len(t, r.Hits(), 60)
		allDelivered(t, w, 60)
	})
}

func TestAReceiverChangesItsMind(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "*")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		w.Pass(time.Second)
		publish(w, 0, 5)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 5)

		// One message is not to its liking: it still agrees, and that one is given up as ever.
		w.Pass(2 * time.Minute)
		r.answer(http.StatusUnprocessableEntity)
		publish(w, 5, 3)
		w.Pass(10 * time.Second)
		assert.Equal(t, 3, w.Count(stream.DeadLetters))
		assert.Len(t, r.questions(), 2, "asked once, whatever it answers to how many")
		assert.True(t, orders(t, w).Activated())

		// It withdraws its consent.
		w.Pass(2 * time.Minute)
		r.allow("", "")
		r.answer(http.StatusForbidden)
		publish(w, 8, 20)
		w.Pass(time.Minute)
		assert.Equal(t, 3, w.Count(stream.DeadLetters), "nothing more is given up")
		assert.Equal(t, 20, w.Count(stream.Backlog))
		before := len(r.Hits())
		assert.LessOrEqual(t, before, 5+3+8, "those that were under way at once have found it out, nobody else")
		got := orders(t, w)
		assert.False(t, got.Activated())
		assert.Equal(t, "not_activated", got.Status.Held.Outcome)
		publish(w, 28, 5)
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), before)

		// And gives it again, with a rate.
		r.allow(ourOrigin, "120")
		r.answer(http.StatusNoContent)
		w.Pass(2 * time.Hour)
		after := r.Hits()[before:]
		assert.Len(t, after, 25)
		spaced(t, after, 500*time.Millisecond)
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.Retries))
	})
}

// TestWhatIsAskedAnew changes the document while deliveries go.
func TestWhatIsAskedAnew(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow("*", "*")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		w.Pass(time.Second)
		require.Len(t, r.questions(), 1)
		w.Apply(r.Document("acme", "orders", cloudEvents(0), limits(2, "9s")))
		publish(w, 0, 1)
		w.Pass(time.Second)
		assert.Len(t, r.questions(), 1, "the receiver has no say in that")
		assert.Len(t, r.Hits(), 1)

		r.allow("", "")
		w.Apply(r.Document("acme", "orders", activation(map[string]any{"kind": "cloudevents", "origin": "new.acme.example"})))
		w.Pass(100 * time.Millisecond)
		publish(w, 1, 1)
		w.Pass(time.Second)
		require.Len(t, r.questions(), 2, "who we are has changed")
		assert.Equal(t, []string{"new.acme.example"}, r.questions()[1].Values("WebHook-Request-Origin"))
		assert.Len(t, r.Hits(), 1, "the old consent is not for the new name")

		w.Apply(r.Document("acme", "orders"))
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 2, "nothing is asked any more, and what waited goes")
		assert.Empty(t, r.Hits()[1].Header.Values("WebHook-Request-Origin"))
		assert.Nil(t, orders(t, w).Status.Held)
	})
}

// TestRetryAfterHoldsForEveryMessage has a receiver answer 429 to one message: until the time that it names nothing else
// goes to it (section 2.2), with a rate and without one.
func TestRetryAfterHoldsForEveryMessage(t *testing.T) {
	for _, rate := range []string{"*", "600"} {
		t.Run(rate, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				r := consent(w, "hooks.example.com")
				r.allow(ourOrigin, rate)
				r.status, r.after = http.StatusTooManyRequests, "120"
				w.Apply(r.Document("acme", "orders", cloudEvents(0), limits(1, "10s")))
				w.Start()
				w.Pass(time.Second)
				publish(w, 0, 20)
				w.Pass(time.Second)
				require.Len(t, r.Hits(), 1)
				turned := r.Hits()[0].At
				r.answer(http.StatusNoContent)
				w.Pass(110 * time.Second)
				publish(w, 20, 5)
				w.Pass(5 * time.Second)
				assert.Len(t, r.Hits(), 1, "nothing before that")
				w.Pass(5 * time.Minute)
				hits := r.Hits()
				assert.Len(t, hits, 1+25)
				assert.GreaterOrEqual(t, hits[1].At.Sub(turned), 2*time.Minute)
				assert.Less(t, hits[1].At.Sub(turned), 2*time.Minute+15*time.Second)
				for _, got := range w.Receipts()[1:] {
					assert.Equal(t, delivery.Delivered, got.Outcome)
					assert.LessOrEqual(t, got.Attempt, 2, "only the one that was turned down was tried twice")
				}
				assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.DeadLetters))
			})
		})
	}
}
