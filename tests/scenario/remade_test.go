package scenario

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// empty takes a bucket away and makes it anew, as somebody does who deletes it and runs `handfast topology apply`.
func empty(t *testing.T, w *kit.World, name string, between time.Duration) {
	t.Helper()
	require.NoError(t, w.JS.DeleteKeyValue(t.Context(), name))
	w.Pass(between)
	for _, config := range w.Topology.Buckets() {
		if config.Bucket == name {
			_, err := w.JS.CreateKeyValue(t.Context(), config)
			require.NoError(t, err)
		}
	}
}

// TestDocumentsThatWereLostStayInForce deletes the bucket of endpoints while services run. Nobody has deleted an endpoint:
// what waits goes on waiting, and events find the endpoints that there were.
func TestDocumentsThatWereLostStayInForce(t *testing.T) {
	for name, between := range map[string]time.Duration{"at once": 0, "after a while": time.Minute} {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				w.Signer.FetchWait, w.Dispatcher.FetchWait = 0, 0 // buckets are looked at as often as they really are
				w.Signer.TendInterval = time.Minute
				active := w.Receiver("active.example.com", kit.Answer(503, 200))
				waiting := w.Receiver("waiting.example.com", kit.Answer(200))
				moved := w.Receiver("moved.example.com", kit.Answer(200))
				w.Apply(waiting.Document("acme", "aside"))
				w.Apply(waiting.Document("acme", "aside", paused))
				w.Apply(active.Document("acme", "orders", schedule("2m")))
				w.Start()
				w.Pass(time.Second)
				w.Publish("acme", created, `{"n":1}`)
				w.Pass(time.Second)
				empty(t, w, stream.EndpointBucket, between)
				w.Pass(10 * time.Second)
				w.Publish("acme", created, `{"n":2}`)
				w.Pass(5 * time.Minute)
				assert.Len(t, active.Hits(), 3, "the retry, and what came after")
				assert.Zero(t, w.Count(stream.DeadLetters), "nobody has deleted anything")
				assert.Equal(t, 2, w.Count(stream.Backlog))
				assert.Contains(t, w.LogText(), "apply its document again")

				w.Apply(moved.Document("acme", "aside")) // at a revision that is lower than the one of before
				w.Pass(time.Minute)
				assert.Len(t, moved.Hits(), 2, "the new document is in force")
				require.NoError(t, catalogueOf(t, w).Delete(t.Context(), endpoint.Key{Tenant: "acme", Name: "orders"}))
				w.Pass(10 * time.Second)
				w.Publish("acme", created, `{"n":3}`)
				w.Pass(time.Minute)
				assert.Len(t, active.Hits(), 3, "and a deletion is one")
				assert.Len(t, moved.Hits(), 3)
			})
		})
	}
}

// TestADocumentIsAppliedBeforeAnybodyHasSeenTheNewBucket: its revision is a low one, which must not look like an old one.
func TestADocumentIsAppliedBeforeAnybodyHasSeenTheNewBucket(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.FetchWait, w.Dispatcher.FetchWait = 0, 0
		before := w.Receiver("before.example.com", kit.Answer(200))
		after := w.Receiver("after.example.com", kit.Answer(200))
		for range 5 {
			w.Apply(before.Document("acme", "orders"))
		}
		w.Start()
		w.Pass(time.Second)
		empty(t, w, stream.EndpointBucket, 0)
		w.Apply(after.Document("acme", "orders"))
		w.Pass(10 * time.Second)
		w.Publish("acme", created, `{}`)
		w.Pass(time.Minute)
		assert.Empty(t, before.Hits())
		assert.Len(t, after.Hits(), 1)
	})
}

// TestNoKeysAreMadeInPlaceOfThoseThatWereLost deletes the bucket of signing keys. Keys that no receiver knows would have
// everything turned down.
func TestNoKeysAreMadeInPlaceOfThoseThatWereLost(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.FetchWait, w.Dispatcher.FetchWait = 0, 0
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", created, `{"n":1}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		key := endpoint.Key{Tenant: "acme", Name: "orders"}
		bucket, err := w.JS.KeyValue(t.Context(), stream.SigningKeyBucket)
		require.NoError(t, err)
		sealed, err := bucket.Get(t.Context(), stream.EndpointKey(key, w.Topology.Partitions))
		require.NoError(t, err)

		empty(t, w, stream.SigningKeyBucket, 0)
		w.Pass(10 * time.Second)
		w.Publish("acme", created, `{"n":2}`)
		w.Pass(5 * time.Minute)
		assert.Len(t, r.Hits(), 1, "it waits")
		assert.Zero(t, w.Count(stream.DeadLetters))
		assert.Zero(t, w.Count("KV_"+stream.SigningKeyBucket))
		assert.Contains(t, w.LogText(), "were lost with their bucket")

		_, err = bucket.Put(t.Context(), sealed.Key(), sealed.Value()) // from a backup
		require.NoError(t, err)
		w.Pass(2 * time.Minute)
		require.Len(t, r.Hits(), 2)
		for _, k := range w.Keys(key) {
			if k.Scheme == signature.V1 {
				assert.True(t, made(t, k, r.Hits()[1]))
			}
		}
	})
}

// TestSchemasThatWereLostStayInForce deletes the bucket of schemas: what breaks one is still refused.
func TestSchemasThatWereLostStayInForce(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.FetchWait, w.Dispatcher.FetchWait = 0, 0
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		newRegistrar(w).apply(1, onlyNum)
		w.Pass(10 * time.Second)
		publishOrder(w, "1", `{"order":"not a number"}`)
		w.Pass(time.Minute)
		require.Equal(t, 1, w.Count(stream.DeadLetters))
		empty(t, w, stream.SchemaBucket, 0)
		w.Pass(10 * time.Second)
		publishOrder(w, "2", `{"order":"not a number"}`)
		w.Pass(time.Minute)
		assert.Empty(t, r.Hits())
		assert.Equal(t, 2, w.Count(stream.DeadLetters))
		assert.Contains(t, w.LogText(), "apply it again")
	})
}

// TestABacklogThatIsMadeAgainGivesNumbersTwice: the same delivery comes to the same place of another backlog, minutes
// after it was signed there. The broker must not take it for that one.
func TestABacklogThatIsMadeAgainGivesNumbersTwice(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.FetchWait, w.Dispatcher.FetchWait = 0, 0
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", paused))
		w.StartSigner(w.Broker.Option())
		w.Pass(time.Second)
		w.Publish("acme", created, `{}`)
		w.Pass(time.Second)
		w.Apply(r.Document("acme", "orders")) // signed; there is no dispatcher yet
		w.Pass(5 * time.Second)
		require.Equal(t, 1, w.Count(stream.Deliveries))
		w.Apply(r.Document("acme", "orders", paused))
		w.Pass(5 * time.Second)
		require.NoError(t, w.JS.DeleteStream(t.Context(), stream.Backlog))
		remake(t, w, stream.Backlog)
		w.StartDispatcher(w.Broker.Option())
		w.Pass(20 * time.Second)
		require.Equal(t, 1, w.Count(stream.Backlog), "parked a second time")
		w.Apply(r.Document("acme", "orders"))
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), 1)
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.Deliveries)+w.Count(stream.Retries))
	})
}

// TestPayloadsAreKeptInABacklogThatIsMadeAgain: how far the one before was looked through says nothing about this one.
func TestPayloadsAreKeptInABacklogThatIsMadeAgain(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.TendInterval = time.Minute
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", paused))
		w.Start()
		w.Pass(time.Second)
		for i := range 10 {
			shelve(t, w, fmt.Sprintf("msg_%d", i), "application/json", `{}`) // they carry their payload
		}
		w.Publish("acme", created, `{}`)
		w.Pass(2 * time.Minute)
		backlog, err := w.JS.Stream(t.Context(), stream.Backlog)
		require.NoError(t, err)
		last, err := backlog.GetMsg(t.Context(), 11)
		require.NoError(t, err)
		record, err := delivery.ParseRetry(last.Data)
		require.NoError(t, err)
		require.Nil(t, record.Inline)
		require.NoError(t, w.JS.DeleteStream(t.Context(), stream.Backlog))
		remake(t, w, stream.Backlog)
		record.First = time.Now().Add(-stream.Horizon - time.Hour) // its event ages out soon
		data, err := json.Marshal(record)
		require.NoError(t, err)
		_, err = w.JS.PublishMsg(t.Context(), &nats.Msg{Subject: last.Subject, Data: data})
		require.NoError(t, err)
		w.Pass(3 * time.Minute)
		kept, err := backlog.GetLastMsgForSubject(t.Context(), last.Subject)
		require.NoError(t, err)
		record, err = delivery.ParseRetry(kept.Data)
		require.NoError(t, err)
		assert.NotNil(t, record.Inline)
		assert.Equal(t, 1, w.Count(stream.Backlog))
	})
}
