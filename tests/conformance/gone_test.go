package conformance

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestGoneSwitchesOff answers 503 to one event and 410 to the next. From then on the receiver is left alone, by the
// retry that was waiting as well, until its document is applied again.
func TestGoneSwitchesOff(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 410, 200))
		bystander := w.Receiver("other.example.com", kit.Answer(200))
		document := r.Document("acme", "orders", schedule("10s", "20s"))
		w.Apply(document)
		w.Apply(bystander.Document("acme", "bystander"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":2}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 2)
		w.Publish("acme", "com.acme.order.created", `{"order":3}`)
		w.Pass(5 * time.Minute)
		assert.Len(t, r.Hits(), 2, "no later event is sent, and no retry")
		assert.Len(t, bystander.Hits(), 3, "the tenant's other endpoint has them all")
		judgeGone(t, w, r.Hits())

		w.Apply(document)
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 2, "applying it again sends nothing old by itself")
		w.Publish("acme", "com.acme.order.created", `{"order":4}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 3, "the same document, applied again, switches it on")
		assert.Contains(t, string(r.Hits()[2].Body), `"order":4`)
		assert.Zero(t, w.Count(stream.Deliveries))
		assert.Zero(t, w.Count(stream.Retries))
	})
}

// judgeGone finds all deliveries of the endpoint as dead letters: the one that was answered 410, the one whose retry found
// the endpoint switched off, and the one of an event that came later, which was never tried.
func judgeGone(t *testing.T, w *kit.World, hits []kit.Hit) {
	t.Helper()
	letters := deadLetters(t, w)
	require.Len(t, letters, 3)
	untried := 0
	for _, letter := range letters {
		assert.Equal(t, "acme/orders", letter.Tenant+"/"+letter.Endpoint)
		require.NotNil(t, letter.Outcome)
		assert.Equal(t, delivery.Gone, *letter.Outcome)
		if string(letter.Delivery) == hits[1].Header.Get("webhook-id") {
			judgeLetter(t, letter, hits[1], delivery.Gone)
			assert.Contains(t, letter.Reasons[0], "HTTP 410")
			continue
		}
		assert.Contains(t, letter.Reasons[0], "disabled")
		if letter.Attempt == 0 {
			untried++
			assert.Equal(t, uint64(3), letter.Event, "its payload stays in EVENTS")
			continue
		}
		assert.Equal(t, hits[0].Header.Get("webhook-id"), string(letter.Delivery))
		body, whole := letter.Body.Bytes()
		assert.True(t, whole)
		assert.Equal(t, hits[0].Body, body, "it can be replayed")
	}
	assert.Equal(t, 1, untried)
}

// TestGoneStopsWhatIsQueued answers 410, after a second each, while signed requests wait in their lane. The one that
// the dispatcher takes up in the moment of the answer may still leave; the rest may not.
func TestGoneStopsWhatIsQueued(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			<-time.After(time.Second)
			rw.WriteHeader(http.StatusGone)
		}))
		w.Apply(r.Document("acme", "orders", func(d map[string]any) { d["limits"] = map[string]any{"concurrency": 1} }))
		w.Start()
		w.Pass(time.Second)
		const events = 6
		for range events {
			w.Publish("acme", kindOfEvent, `{"order":1}`)
		}
		w.Pass(time.Minute)
		assert.LessOrEqual(t, len(r.Hits()), 2)
		letters := deadLetters(t, w)
		require.Len(t, letters, events, "none is lost, each can be replayed")
		disabled := 0
		for _, letter := range letters {
			require.NotNil(t, letter.Outcome)
			assert.Equal(t, delivery.Gone, *letter.Outcome)
			if strings.Contains(letter.Reasons[0], "is disabled") {
				disabled++
			}
		}
		assert.Equal(t, events-len(r.Hits()), disabled, "and those that were not sent say why")
		assert.Zero(t, w.Count(stream.Deliveries))
		assert.Zero(t, w.Count(stream.Retries))
	})
}
