package conformance

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestNothingHonestIsLostToReplayPrevention has what can go wrong between an honest dispatcher and its receiver. Each time
// the delivery ends as delivered, and the receiver's handler has run for it once.
func TestNothingHonestIsLostToReplayPrevention(t *testing.T) {
	for _, c := range []struct {
		name     string
		between  func(guarded http.Handler) http.HandlerFunc // what stands between both, for the first request
		outcomes []delivery.Outcome
	}{
		{"the answer is lost", func(guarded http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				guarded.ServeHTTP(httptest.NewRecorder(), r)
				w.WriteHeader(http.StatusBadGateway)
			}
		}, []delivery.Outcome{delivery.Unavailable, delivery.Delivered}},
		{"the attempt arrives twice, and the second answer counts", func(guarded http.Handler) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				assert.NoError(t, err)
				again := r.Clone(r.Context())
				r.Body, again.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
				first := httptest.NewRecorder()
				guarded.ServeHTTP(first, r)
				assert.Equal(t, http.StatusNoContent, first.Code)
				guarded.ServeHTTP(w, again)
			}
		}, []delivery.Outcome{delivery.Unavailable, delivery.Delivered}},
		{"the receiver's store is down for a moment", func(http.Handler) http.HandlerFunc {
			return kit.Answer(http.StatusServiceUnavailable)
		}, []delivery.Outcome{delivery.Unavailable, delivery.Delivered}},
	} {
		t.Run(c.name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				key := ofScheme(t, w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"}), signature.V1)
				g := guard(t, kit.ClientName, []signature.Key{key}, kit.Answer(http.StatusNoContent))
				requests := 0
				first := c.between(g)
				r := w.Receiver("hooks.example.com", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
					requests++
					if requests == 1 {
						first(rw, req)
						return
					}
					g.ServeHTTP(rw, req)
				}))
				w.Apply(r.Document("acme", "orders"))
				w.Start()
				w.Pass(time.Second)
				w.Publish("acme", "com.acme.order.created", attackBody)
				w.Pass(10 * time.Minute)

				assert.Equal(t, c.outcomes, w.Outcomes())
				require.Len(t, g.seen, 1, "processed once")
				assert.Empty(t, w.DeadLetters())
				assert.Zero(t, w.Count(stream.Backlog))
			})
		})
	}
}

// TestALostAnswerIsOneDeliveryForTheWholeSchedule loses every answer but the last: whatever the receiver processed at
// first is a duplicate on each of the attempts that follow, days later, without any setting of the receiver's.
func TestALostAnswerIsOneDeliveryForTheWholeSchedule(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		key := ofScheme(t, w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"}), signature.V1)
		g := guard(t, kit.ClientName, []signature.Key{key}, kit.Answer(http.StatusNoContent))
		attempts := len(endpoint.StandardSchedule()) + 1
		var answers []int
		r := w.Receiver("hooks.example.com", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			lost := httptest.NewRecorder()
			g.ServeHTTP(lost, req)
			if answers = append(answers, lost.Code); len(answers) < attempts {
				rw.WriteHeader(http.StatusBadGateway)
			}
		}))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", attackBody)
		w.Pass(84 * time.Hour)

		assert.Equal(t, slices.Repeat([]int{http.StatusNoContent}, attempts), answers)
		assert.Len(t, g.seen, 1, "processed once")
		assert.Empty(t, w.DeadLetters())
	})
}

// TestALiveDeliveryCannotBeReplayed takes what arrived, and sends it to the receiver's door again.
func TestALiveDeliveryCannotBeReplayed(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		key := ofScheme(t, w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"}), signature.V1)
		g := guard(t, kit.ClientName, []signature.Key{key}, kit.Answer(http.StatusNoContent))
		var captured *http.Request
		r := w.Receiver("hooks.example.com", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			captured = req.Clone(t.Context())
			g.ServeHTTP(rw, req)
		}))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", attackBody)
		w.Pass(time.Second)
		require.Len(t, g.seen, 1)
		require.Len(t, r.Hits(), 1)
		replay := func() int {
			req := captured.Clone(t.Context())
			req.Body = io.NopCloser(bytes.NewReader(r.Hits()[0].Body))
			recorder := httptest.NewRecorder()
			g.ServeHTTP(recorder, req)
			return recorder.Code
		}
		assert.Equal(t, receiver.StatusReplay, replay(), "+1 s")
		w.Pass(4 * time.Minute)
		assert.Equal(t, receiver.StatusReplay, replay(), "+4 min")
		w.Pass(2 * time.Minute)
		assert.Equal(t, http.StatusUnauthorized, replay(), "+6 min")
		assert.Len(t, g.seen, 1)
	})
}
