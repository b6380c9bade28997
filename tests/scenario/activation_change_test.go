package scenario

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// pondering answers the question for consent after a while.
func pondering(answer http.Handler, pause time.Duration) http.Handler {
	return kit.Whole{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("WebHook-Request-Origin") != "" && r.Method == http.MethodOptions {
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
			}
		}
		answer.ServeHTTP(w, r)
	})}
}

// TestAnAnswerDoesNotBringAnEndpointBack deletes an endpoint while its receiver thinks about its consent: what it says
// then must not stand for a later endpoint of that name, and nothing must pile up.
func TestAnAnswerDoesNotBringAnEndpointBack(t *testing.T) {
	for name, agrees := range map[string]bool{"it agrees": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				r := w.Receiver("hooks.example.com", pondering(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					if agrees {
						rw.Header().Set("WebHook-Allowed-Origin", "*")
					}
				}), 5*time.Second))
				w.Apply(r.Document("acme", "orders", cloudEvents(0), limits(1, "10s")))
				w.Start()
				w.Pass(time.Second)
				kv, err := w.JS.KeyValue(t.Context(), stream.EndpointBucket)
				require.NoError(t, err)
				key := endpoint.Key{Tenant: "acme", Name: "orders"}
				require.NoError(t, kv.Delete(t.Context(), stream.EndpointKey(key, w.Topology.Partitions)))
				require.NoError(t, kv.Delete(t.Context(), stream.StatusKey(key, w.Topology.Partitions)))
				w.Pass(time.Minute)
				_, err = kv.Get(t.Context(), stream.StatusKey(key, w.Topology.Partitions))
				assert.ErrorIs(t, err, jetstream.ErrKeyNotFound)
			})
		})
	}
}

// TestAnotherReceiverDoesNotRestForTheOneBefore moves an endpoint away from a receiver that wants nothing for a day.
func TestAnotherReceiverDoesNotRestForTheOneBefore(t *testing.T) {
	for _, rate := range []string{"*", "60"} {
		t.Run(rate, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				before, after := consent(w, "before.example.com"), consent(w, "after.example.com")
				before.allow(ourOrigin, rate)
				after.allow(ourOrigin, rate)
				before.status, before.after = http.StatusTooManyRequests, "86400"
				w.Apply(before.Document("acme", "orders", cloudEvents(0)))
				w.Start()
				w.Pass(time.Second)
				publish(w, 0, 1)
				w.Pass(10 * time.Second)
				require.Len(t, before.Hits(), 1)
				w.Apply(after.Document("acme", "orders", cloudEvents(0)))
				w.Pass(time.Second)
				publish(w, 1, 5)
				w.Pass(30 * time.Second)
				assert.Len(t, after.Hits(), 5)
				spaced(t, after.Hits(), map[string]time.Duration{"*": 0, "60": time.Second}[rate])
			})
		})
	}
}

// TestReceiversThatDoNotAnswerDelayNobodyElsesConsent has one tenant with very many of them.
func TestReceiversThatDoNotAnswerDelayNobodyElsesConsent(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		silent := w.Receiver("silent.example.com", pondering(kit.Answer(200), time.Hour))
		for i := range 100 {
			w.Apply(silent.Document("silent", fmt.Sprintf("hook-%d", i), cloudEvents(0), limits(1, "30s")))
		}
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "*")
		w.Start()
		w.Pass(time.Second)
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Pass(time.Minute)
		assert.True(t, orders(t, w).Activated())
	})
}

// TestAnActivationThatIsGoneKeepsNothingBack takes the activation out of a document while no dispatcher runs, and while
// the next question is far away.
func TestAnActivationThatIsGoneKeepsNothingBack(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		publish(w, 0, 3)
		w.Pass(90 * time.Minute)
		require.Greater(t, time.Until(orders(t, w).Status.Held.Next), 10*time.Minute)
		w.Stop()
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), 3)
		assert.Nil(t, orders(t, w).Status.Held)
	})
}

// TestAReceiverChangesItsMindRightAfterItHasAgreed withdraws before the consent is a minute old.
func TestAReceiverChangesItsMindRightAfterItHasAgreed(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := consent(w, "hooks.example.com")
		r.allow(ourOrigin, "*")
		w.Apply(r.Document("acme", "orders", cloudEvents(0)))
		w.Start()
		w.Pass(time.Second)
		r.allow("", "")
		r.answer(http.StatusForbidden)
		publish(w, 0, 20)
		w.Pass(30 * time.Second)
		assert.Zero(t, w.Count(stream.DeadLetters), "it is no fault of the messages")
		assert.Equal(t, 20, w.Count(stream.Backlog))
	})
}
