package scenario

import (
	"crypto/tls"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestAPendingActivationIsTold has a receiver that does not agree for an hour, and then does: an alert and its end, spans,
// and words.
func TestAPendingActivationIsTold(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		w.Pass(time.Hour)
		r.allow(ourOrigin, "*")
		w.Pass(2 * time.Hour)
		alerts := w.Alerts()
		require.Len(t, alerts, 2)
		assert.Equal(t, alert.EndpointHeld, alerts[0].Type)
		assert.Equal(t, "acme/orders", alerts[0].Subject)
		assert.Equal(t, "not_activated", alerts[0].Data["outcome"])
		assert.Contains(t, alerts[0].Data["detail"], "without WebHook-Allowed-Origin")
		assert.Contains(t, alerts[0].Data["advice"], "handfast endpoint activate acme/orders")
		assert.Equal(t, alert.EndpointHealed, alerts[1].Type)
		outcomes := map[string]int{}
		for _, span := range named(w.Spans.Spans(), "activate acme/orders") {
			outcome, _ := span.Attribute("handfast.outcome")
			outcomes[outcome.AsString()]++
		}
		assert.Equal(t, 1, outcomes["delivered"])
		assert.Equal(t, len(r.questions())-1, outcomes["not_activated"])
		assert.NotContains(t, w.LogText(), "source=handfast", "the url is a secret")
	})
}

// TestAReceiverThatIsAwayIsAskedAgain has nobody listen at first, and restarts everything in between: the waits go on
// where they were, and what waits is kept.
func TestAReceiverThatIsAwayIsAskedAgain(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "*")
		r.Close()
		w.Apply(r.Document("acme", "orders", cloudEvents(0), limits(1, "10s")))
		w.Start()
		publish(w, 0, 5)
		w.Pass(20 * time.Minute)
		held := orders(t, w).Status.Held
		require.NotNil(t, held)
		assert.Equal(t, "not_activated", held.Outcome)
		assert.Contains(t, held.Detail, "could not be asked")
		alerts := w.Alerts()
		require.Len(t, alerts, 1, "that is told, whatever keeps it from agreeing")
		assert.Equal(t, "not_activated", alerts[0].Data["outcome"])
		probes := held.Probes
		require.Greater(t, probes, 5)
		w.Stop()
		w.StopBroker()
		w.StartBroker()
		w.Start()
		w.Pass(time.Minute)
		again := orders(t, w).Status.Held
		require.NotNil(t, again)
		assert.LessOrEqual(t, again.Probes, probes+1, "a restart is no reason to ask all the time")
		assert.Equal(t, held.Since, again.Since)
		r.Reopen()
		w.Pass(2 * time.Hour)
		assert.Equal(t, upTo(5), numbers(t, r.Hits()))
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.Retries)+w.Count(stream.DeadLetters))
	})
}

// TestAPersonHasTheReceiverAskedAtOnce does what `handfast endpoint activate` writes.
func TestAPersonHasTheReceiverAskedAtOnce(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		publish(w, 0, 2)
		w.Pass(30 * time.Minute)
		catalogue, err := w.Topology.OpenCatalogue(t.Context(), w.JS, nil)
		require.NoError(t, err)
		ask := func() {
			_, err := catalogue.UpdateStatus(t.Context(), endpoint.Key{Tenant: "acme", Name: "orders"}, func(s *endpoint.Status) { s.Activation, s.Held = nil, nil })
			require.NoError(t, err)
			w.Pass(time.Second)
		}
		before := len(r.questions())
		r.allow(ourOrigin, "*")
		ask()
		assert.Len(t, r.questions(), before+1)
		assert.Len(t, r.Hits(), 2)
		assert.True(t, orders(t, w).Activated())

		r.allow("", "")
		ask()
		publish(w, 2, 2)
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 2, "also one that had agreed is asked, and has changed its mind")
		assert.False(t, orders(t, w).Activated())
	})
}

// TestAReceiverThatIsGoneIsAskedWhenItIsEnabledAgain has a receiver answer 410: it is switched off with its consent, as
// Adobe's webhooks are when they become inactive.
func TestAReceiverThatIsGoneIsAskedWhenItIsEnabledAgain(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "*")
		document := r.Document("acme", "orders", cloudEvents(0))
		w.Apply(document)
		w.Start()
		w.Pass(time.Second)
		r.answer(http.StatusGone)
		publish(w, 0, 1)
		w.Pass(time.Second)
		require.True(t, orders(t, w).Disabled())
		require.Len(t, r.questions(), 1)
		r.allow("", "")
		r.answer(http.StatusNoContent)
		w.Apply(document)
		w.Pass(100 * time.Millisecond)
		publish(w, 1, 1)
		w.Pass(time.Second)
		assert.Len(t, r.questions(), 2)
		assert.Len(t, r.Hits(), 1, "the old consent has ended with the 410")
		r.allow("*", "*")
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), 2)
	})
}

// TestNobodyIsAskedBehindAWrongCertificate has the receiver's certificate be another's: no question goes to it.
func TestNobodyIsAskedBehindAWrongCertificate(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "*")
		w.Apply(r.Document("acme", "orders", cloudEvents(0), func(d map[string]any) {
			d["tls"].(map[string]any)["server_name"] = "other.example.com"
		}))
		w.Start()
		publish(w, 0, 1)
		w.Pass(time.Minute)
		assert.Empty(t, r.questions())
		assert.Equal(t, "server_name_mismatch", orders(t, w).Status.Held.Outcome)
		assert.Equal(t, 1, w.Count(stream.Backlog))
	})
}

// TestADeliveryUnderWayIsNoConsent has a receiver withdraw its consent while it still works on a message.
func TestADeliveryUnderWayIsNoConsent(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "*")
		r.pause = 8 * time.Second
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		publish(w, 0, 1)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		r.allow("", "")
		catalogue, err := w.Topology.OpenCatalogue(t.Context(), w.JS, nil)
		require.NoError(t, err)
		_, err = catalogue.UpdateStatus(t.Context(), endpoint.Key{Tenant: "acme", Name: "orders"}, func(s *endpoint.Status) { s.Activation, s.Held = nil, nil })
		require.NoError(t, err)
		w.Pass(time.Second)
		held := orders(t, w).Status.Held
		require.NotNil(t, held)
		w.Pass(time.Minute)
		assert.Len(t, w.Receipts(), 1, "the message has arrived")
		now := orders(t, w).Status.Held
		require.NotNil(t, now, "and says nothing about the next ones")
		assert.Equal(t, held.Since, now.Since)
	})
}

// TestConsentOverHTTP2 has both kinds on HTTP/2, where a connection is asked for our certificate's sake first.
func TestConsentOverHTTP2(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		two := func(c *tls.Config) { c.NextProtos = []string{"h2"} }
		var mu sync.Mutex
		seen := map[string]int{}
		answer := kit.Whole{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			origin, id := r.Header.Get("WebHook-Request-Origin"), r.Header.Get("X-AdobeSign-ClientId")
			seen[r.Proto+" "+r.Method+" "+origin+id]++
			if origin != "" {
				rw.Header().Set("WebHook-Allowed-Origin", origin)
				rw.Header().Set("WebHook-Allowed-Rate", "*")
			}
			if id != "" {
				rw.Header().Set("X-AdobeSign-ClientId", id)
			}
		})}
		asked, verified := w.Receiver("one.example.com", answer, two), w.Receiver("two.example.com", answer, two)
		w.Apply(asked.Document("acme", "one", cloudEvents(0)))
		w.Apply(verified.Document("acme", "two", adobeSign()))
		w.Start()
		publish(w, 0, 3)
		w.Pass(10 * time.Second)
		allDelivered(t, w, 6)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, 1, seen["HTTP/2.0 OPTIONS "+ourOrigin])
		assert.Equal(t, 3, seen["HTTP/2.0 POST "+ourOrigin])
		assert.Equal(t, 1, seen["HTTP/2.0 GET "+adobeClient])
		assert.Equal(t, 3, seen["HTTP/2.0 POST "+adobeClient])
	})
}
