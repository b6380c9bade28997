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

// TestNobodyButASignerHasAPayloadSigned writes records as a dispatcher that has been taken over could: with payloads of
// its own, with a payload and the stamp of another delivery, and with what a signer has really built.
func TestNobodyButASignerHasAPayloadSigned(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(400, 200)) // the first one ends as a dead letter
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(time.Second)
		letters := w.DeadLetters()
		require.Len(t, letters, 1)
		var genuine delivery.DeadLetter
		require.NoError(t, json.Unmarshal(letters[0], &genuine))
		body, ok := genuine.Body.Bytes()
		require.True(t, ok)
		require.NotEmpty(t, genuine.Stamp)
		require.Len(t, r.Hits(), 1)
		assert.NotContains(t, r.Hits()[0].Header, "Handfast-Stamp", "it is nobody else's business")

		content := genuine.Header.Get("Content-Type")
		send := func(id delivery.ID, in delivery.Inline) {
			record := delivery.Retry{
				Delivery: id, Tenant: "acme", Endpoint: "orders", Attempt: 2, First: time.Now(), Outcome: delivery.Unavailable, Inline: &in,
			}
			msg, _, err := w.Topology.ScheduleMessage(record, time.Now(), "")
			require.NoError(t, err)
			_, err = w.JS.PublishMsg(t.Context(), msg)
			require.NoError(t, err)
			w.Pass(time.Second)
		}
		forged := []byte(`{"pay":"me"}`)
		send("msg_a", delivery.Inline{ContentType: content, Body: forged})
		send("msg_b", delivery.Inline{ContentType: content, Body: forged, Stamp: genuine.Stamp})
		send("msg_c", delivery.Inline{ContentType: content, Body: body, Stamp: genuine.Stamp})
		send(genuine.Delivery, delivery.Inline{ContentType: content, Body: forged, Stamp: genuine.Stamp})
		send(genuine.Delivery, delivery.Inline{ContentType: "text/plain", Body: body, Stamp: genuine.Stamp})
		assert.Len(t, r.Hits(), 1, "nothing of that is signed")
		assert.Zero(t, w.Count(stream.Retries))
		refused := w.DeadLetters()
		require.Len(t, refused, 4, "one for each delivery")
		for _, data := range refused {
			var letter delivery.DeadLetter
			require.NoError(t, json.Unmarshal(data, &letter))
			require.Len(t, letter.Reasons, 1)
			assert.Contains(t, letter.Reasons[0], "not built by a signer")
			assert.Empty(t, letter.Stamp, "nor will it be at a replay")
			_, ok := letter.Body.Bytes()
			assert.True(t, ok, "what was refused can be looked at")
		}

		send(genuine.Delivery, delivery.Inline{ContentType: content, Body: body, Stamp: genuine.Stamp})
		require.Len(t, r.Hits(), 2)
		assert.Equal(t, body, r.Hits()[1].Body)

		// A payload that was stamped under a master key that this signer does not hold waits.
		other := "0123456789abcdef" + genuine.Stamp[16:]
		send("msg_d", delivery.Inline{ContentType: content, Body: body, Stamp: other})
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), 2)
		assert.Len(t, w.DeadLetters(), 4)
		assert.Equal(t, 1, w.Count(stream.Retries), "until its master key is there")
		assert.Contains(t, w.LogText(), "add that master key to the previous ones")
	})
}

// TestAStampIsForOneReceiver: a dispatcher that has been taken over holds a payload that a signer has built for one tenant's
// receiver, with its stamp. It asks that this be signed with the keys of another tenant's.
func TestAStampIsForOneReceiver(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(400))
		bank := w.Receiver("bank.example.com", kit.Answer(200))
		w.Apply(r.Document("mallory", "orders"))
		w.Apply(bank.Document("bank", "pay"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("mallory", "com.acme.order.created", `{"pay":"mallory"}`)
		w.Pass(time.Second)
		letters := w.DeadLetters()
		require.Len(t, letters, 1)
		var genuine delivery.DeadLetter
		require.NoError(t, json.Unmarshal(letters[0], &genuine))
		body, ok := genuine.Body.Bytes()
		require.True(t, ok)

		msg, _, err := w.Topology.ScheduleMessage(delivery.Retry{
			Delivery: genuine.Delivery, Tenant: "bank", Endpoint: "pay", Attempt: 2, First: time.Now(), Outcome: delivery.Unavailable,
			Inline: &delivery.Inline{ContentType: genuine.Header.Get("Content-Type"), Body: body, Stamp: genuine.Stamp},
		}, time.Now(), "")
		require.NoError(t, err)
		_, err = w.JS.PublishMsg(t.Context(), msg)
		require.NoError(t, err)
		w.Pass(time.Minute)
		assert.Empty(t, bank.Hits(), "one tenant's payload under another tenant's signature")
		refused := w.DeadLetters()
		require.Len(t, refused, 2)
		var letter delivery.DeadLetter
		require.NoError(t, json.Unmarshal(refused[1], &letter))
		assert.Contains(t, letter.Reasons[0], "not built by a signer")
		assert.Empty(t, letter.Stamp)
	})
}
