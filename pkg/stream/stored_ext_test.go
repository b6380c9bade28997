package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// forged says of itself what only the broker knows.
func forged(subject string) nats.Header {
	return nats.Header{"Nats-Subject": {subject}, "Nats-Sequence": {"77"}, "Nats-Time-Stamp": {"1999-01-01T00:00:00Z"}, "Nats-Stream": {"OTHER"}}
}

func TestAMessageDoesNotSayWhereItStands(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		header := forged("events.globex.x")
		header.Set("ce-id", "1")
		b.send(t, &nats.Msg{Subject: "events.acme.x", Header: header, Data: []byte("{}")}, "")
		events := b.stream(t, stream.Events)
		msg, err := stream.GetMsg(t.Context(), events, 1)
		require.NoError(t, err)
		assert.Equal(t, "events.acme.x", msg.Subject)
		assert.EqualValues(t, 1, msg.Sequence)
		assert.WithinDuration(t, time.Now(), msg.Time, time.Second)
		assert.Equal(t, nats.Header{"ce-id": {"1"}}, msg.Header)
		_, err = stream.GetMsg(t.Context(), events, 2)
		require.ErrorIs(t, err, jetstream.ErrMsgNotFound)

		config := events.CachedInfo().Config
		config.AllowDirect = false
		events, err = b.js.UpdateStream(t.Context(), config)
		require.NoError(t, err)
		_, err = stream.GetMsg(t.Context(), events, 1)
		require.ErrorIs(t, err, stream.ErrNoDirectGet, "an answer in which nothing is the broker's own word")
	})
}

// TestSweepFollowsNoForgedSubject: what a signer has written must not make a dispatcher write elsewhere.
func TestSweepFollowsNoForgedSubject(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		msg, _, err := topology.ScheduleMessage(retry("late"), time.Now().Add(time.Hour), "")
		require.NoError(t, err)
		place := msg.Subject
		for name, values := range forged("receipts.globex.x") {
			if name != "Nats-Sequence" { // with it the sweep would only miss the mark
				msg.Header[name] = values
			}
		}
		b.send(t, msg, "")
		assert.Equal(t, 1, sweep(t, b, topology, time.Now().Add(2*time.Hour)))
		assert.Zero(t, b.count(t, stream.Receipts))
		raw, err := b.stream(t, stream.Retries).GetMsg(t.Context(), 2)
		require.NoError(t, err)
		assert.Equal(t, place, raw.Subject)
	})
}
