package system

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// TestAScheduleWritesNowhereElse has a service that has been taken over have the server write by a schedule: to subjects
// of other streams, and to those of RETRIES that it may not write itself with what stands elsewhere.
func TestAScheduleWritesNowhereElse(t *testing.T) {
	for _, user := range []string{"dispatcher", "signer"} {
		t.Run(user, func(t *testing.T) {
			s := set(t)
			thief, err := jetstream.New(s.as(user, func(err error) { t.Errorf("%s may not: %v", user, err) }))
			require.NoError(t, err)
			at := "@at " + time.Now().UTC().Format(time.RFC3339Nano)
			schedule := func(header nats.Header) error {
				header["Nats-Schedule"] = []string{at}
				_, err := thief.PublishMsg(t.Context(), &nats.Msg{Subject: "retries.at.0.acme.shop.x", Header: header, Data: []byte("{}")})
				return err
			}
			for target := range targets() {
				if target == "retries.due.0.globex.shop" {
					continue // the one stream that schedules are for
				}
				require.Error(t, schedule(nats.Header{"Nats-Schedule-Target": {target}}), target)
			}
			for _, target := range []string{"$JS.API.STREAM.PURGE.EVENTS", "_INBOX.operator.victim", "changes.endpoints.x"} {
				require.Error(t, schedule(nats.Header{"Nats-Schedule-Target": {target}}), target)
			}
			for _, source := range []string{"events.acme.x", "$KV.signing-keys.0.acme.shop"} {
				require.Error(t, schedule(nats.Header{"Nats-Schedule-Target": {"retries.due.0.acme.shop"}, "Nats-Schedule-Source": {source}}), source)
			}
			assert.Zero(t, s.last(stream.Retries))
		})
	}
}

// TestTheOtherNameOfJetStreamIsNoWayRound speaks to the imports by the name that they have inside of an account.
func TestTheOtherNameOfJetStreamIsNoWayRound(t *testing.T) {
	s := set(t)
	for user, foreign := range map[string][]string{
		"dispatcher": {
			"DIRECT.GET.EVENTS", "DIRECT.GET.KV_signing-keys", "DIRECT.GET.KV_schemas", "DIRECT.GET.BACKLOG", "STREAM.MSG.GET.DELIVERIES", "STREAM.PURGE.DELIVERIES",
			"CONSUMER.MSG.NEXT.EVENTS.signer", "CONSUMER.MSG.NEXT.RETRIES.due", "CONSUMER.CREATE.DELIVERIES", "STREAM.MSG.DELETE.RETRIES", "STREAM.MSG.DELETE.EVENTS", "INFO", "STREAM.NAMES",
		},
		"signer": {
			"DIRECT.GET.KV_identities", "DIRECT.GET.RECEIPTS", "DIRECT.GET.DEADLETTERS", "STREAM.PURGE.EVENTS", "STREAM.MSG.DELETE.EVENTS", "STREAM.MSG.DELETE.DELIVERIES",
			"CONSUMER.MSG.NEXT.DELIVERIES.p000", "CONSUMER.CREATE.EVENTS", "INFO",
		},
	} {
		nc := s.as(user, func(err error) { t.Errorf("%s may not: %v", user, err) })
		for _, what := range foreign {
			_, err := nc.Request("handfast.api."+what, []byte(`{"seq":1}`), 10*time.Second)
			require.ErrorIs(t, err, nats.ErrNoResponders, "%s %s", user, what)
		}
	}
	assert.EqualValues(t, 64, s.hit("events.acme.x", stream.Events))
}

// TestAnAcknowledgementReachesItsOwnConsumersOnly sends what ends, gives back or asks for messages of a consumer that is
// another service's.
func TestAnAcknowledgementReachesItsOwnConsumersOnly(t *testing.T) {
	s := set(t)
	signer, err := jetstream.New(s.as("signer", func(error) {}))
	require.NoError(t, err)
	consumer, err := signer.Consumer(t.Context(), stream.Events, stream.SignerConsumer)
	require.NoError(t, err)
	batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(10*time.Second))
	require.NoError(t, err)
	msg := <-batch.Messages()
	require.NotNil(t, msg)
	meta, err := msg.Metadata()
	require.NoError(t, err)
	require.EqualValues(t, 1, meta.Sequence.Stream)
	dispatcher := s.as("dispatcher", func(error) {})
	for _, subject := range []string{"$JS.ACK.EVENTS.signer.1.1.1.1.0", "$JS.ACK.DELIVERIES.x.EVENTS.signer.1.1.1.1.0", "$JS.ACK.DELIVERIES.EVENTS.signer.1.1.1.1.0"} {
		for _, word := range []string{"+ACK", "+TERM", "-NAK", `+NXT {"batch":8}`} {
			require.NoError(t, dispatcher.PublishRequest(subject, "_INBOX.dispatcher.x", []byte(word)))
		}
	}
	require.NoError(t, dispatcher.Flush())
	_, err = dispatcher.Request("$JS.API.DIRECT.GET.KV_endpoints", []byte(ownAnswer), 10*time.Second)
	require.NoError(t, err)
	info, err := consumer.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, info.NumAckPending, "it is with the signer still")
	assert.Zero(t, info.NumRedelivered)
	require.NoError(t, msg.DoubleAck(t.Context()))
}
