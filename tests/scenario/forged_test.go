package scenario

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestAnEventCannotSayWhereItStands: a dispatcher that has been taken over may publish alerts, and write retries. It
// publishes one whose headers say, as the broker does in an answer, that it stands among another tenant's events, and
// asks by a retry that it be signed for that tenant's receiver.
func TestAnEventCannotSayWhereItStands(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", types("com.acme.*")))
		w.Start()
		w.Pass(time.Second)
		header := nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/shop"}, "ce-type": {"com.acme.order"}, "ce-datacontenttype": {"application/json"},
		}
		claimed := "events.acme.com.acme.order"
		e, err := event.Parse(claimed, header, []byte(`{"pay":"mallory"}`))
		require.NoError(t, err)
		header["Nats-Subject"] = []string{claimed}
		// An alert that no endpoint takes stays in EVENTS like any other.
		stored, err := w.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "events.handfast.com.acme.order", Header: header, Data: []byte(`{"pay":"mallory"}`)})
		require.NoError(t, err)
		msg, _, err := w.Topology.ScheduleMessage(delivery.Retry{
			Delivery: delivery.NewID(e.Digest(), endpoint.Key{Tenant: "acme", Name: "orders"}), Tenant: "acme", Endpoint: "orders", Event: stored.Sequence,
			Attempt: 1, First: time.Now(), Outcome: delivery.StaleSignature,
		}, time.Now(), "")
		require.NoError(t, err)
		_, err = w.JS.PublishMsg(t.Context(), msg)
		require.NoError(t, err)
		w.Pass(10 * time.Second)
		assert.Empty(t, r.Hits(), "signed with the tenant's keys, for the tenant's receiver")
		letters := w.DeadLetters()
		require.Len(t, letters, 2, "the event itself, and what the retry asks for")
		var letter delivery.DeadLetter
		require.NoError(t, json.Unmarshal(letters[1], &letter))
		assert.Contains(t, letter.Reasons[0], "does not belong to this delivery")
		assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}

// TestAnEventThatSpeaksForTheBrokerIsRefused, because a retry of it could never be read again: the client library fails at
// such a header each time.
func TestAnEventThatSpeaksForTheBrokerIsRefused(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		for i, name := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} {
			_, err := w.JS.PublishMsg(t.Context(), &nats.Msg{Subject: "events.acme.com.acme.order", Data: []byte(`{}`), Header: nats.Header{
				"ce-specversion": {"1.0"}, "ce-id": {name}, "ce-source": {"/shop"}, "ce-type": {"com.acme.order"}, name: {"x"},
			}})
			require.NoError(t, err)
			w.Pass(time.Hour)
			assert.Empty(t, r.Hits(), name)
			letters := w.DeadLetters()
			require.Len(t, letters, i+1)
			assert.Contains(t, string(letters[i]), name+": is for the broker alone to say")
		}
		assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}
