package scenario

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestARecordCannotClaimAnothersEvent: whoever may write to RETRIES names the event of another tenant, or another event of
// the same one. The event does not bear it out, so it is not signed.
func TestARecordCannotClaimAnothersEvent(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", types("com.acme.*")))
		w.Start()
		w.Pass(time.Second)
		for name, sequence := range map[string]uint64{
			"others": w.Publish("globex", "com.globex.payroll", `{"salary":1}`),
			"unseen": w.Publish("acme", "unseen", `{"secret":1}`), // which the endpoint's filter keeps from it
		} {
			msg, id, err := w.Topology.ScheduleMessage(delivery.Retry{
				Delivery: delivery.ID("msg_" + name), Tenant: "acme", Endpoint: "orders", Event: sequence, Attempt: 1, First: time.Now(), Outcome: delivery.StaleSignature,
			}, time.Now(), "")
			require.NoError(t, err)
			_, err = w.JS.PublishMsg(t.Context(), msg)
			require.NoError(t, err, id)
		}
		w.Pass(10 * time.Second)
		assert.Empty(t, r.Hits())
		letters := w.DeadLetters()
		require.Len(t, letters, 2, "it is told, and does not come back")
		for _, text := range letters {
			var letter delivery.DeadLetter
			require.NoError(t, json.Unmarshal(text, &letter))
			assert.Contains(t, letter.Reasons[0], "does not belong to this delivery")
			assert.NotContains(t, string(text), "salary")
			assert.NotContains(t, string(text), "secret")
		}
		assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}
