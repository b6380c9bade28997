package scenario

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// TestWhatADisabledEndpointMissesCanBeReplayed: its receiver answers 410, more events come, and its document is applied
// again on the next day.
func TestWhatADisabledEndpointMissesCanBeReplayed(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const missed = 5
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(410, 200))
		bystander := w.Receiver("other.example.com", kit.Answer(200))
		document := r.Document("acme", "orders", types("com.acme.order.created"))
		w.Apply(document)
		w.Apply(bystander.Document("acme", "bystander"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"n":-1}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1, "it is answered 410")
		for n := range missed {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"n":%d}`, n))
			w.Publish("acme", "com.acme.invoice.created", `{}`) // which it does not want
		}
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 1)
		assert.Len(t, bystander.Hits(), 1+2*missed, "others have them all")
		letters := w.DeadLetters()
		require.Len(t, letters, 1+missed, "what it misses is told, each event that it wants and no other")
		var letter delivery.DeadLetter
		require.NoError(t, json.Unmarshal(letters[1], &letter))
		assert.Equal(t, delivery.Gone, *letter.Outcome)
		assert.Zero(t, letter.Attempt, "there was no attempt")
		assert.NotZero(t, letter.Body.Omitted, "the payload stays in EVENTS")
		assert.Contains(t, letter.Reasons[0], "HTTP 410")
		assert.Contains(t, letter.Reasons[1], "handfast deadletter replay --endpoint acme/orders")
		assert.Less(t, len(letters[1]), 700, "and the letter is small")

		w.Pass(day)
		w.Apply(document)
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 1, "enabled again, it gets nothing old by itself")
		o := operator.New(w.JS, w.Topology)
		list, err := o.DeadLetters(t.Context(), operator.Filter{Endpoint: endpoint.Key{Tenant: "acme", Name: "orders"}})
		require.NoError(t, err)
		require.NoError(t, o.Replay(t.Context(), operator.ChooseLetters(list), func(came operator.Replay) error {
			assert.Equal(t, operator.Replayed, came.Result, came.Note)
			return nil
		}))
		w.Pass(2 * time.Second)
		came := make([]bool, missed+1)
		for _, hit := range r.Hits()[1:] {
			came[number(t, hit)+1] = true
		}
		assert.NotContains(t, came, false, "what the operator replays comes, whole")
		for _, got := range w.Receipts() {
			if got.Endpoint == "orders" && got.Outcome == delivery.Delivered && got.Event.Sequence > 1 {
				assert.Equal(t, 1, got.Attempt, "the first attempt is the one after the replay")
			}
		}
		w.Publish("acme", "com.acme.order.created", `{"n":99}`)
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), missed+3)
		assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.Deliveries)+w.Count(stream.Backlog))
	})
}
