package scenario

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// TestABrokenSchemaLetsEventsWait has one that was written by hand.
func TestABrokenSchemaLetsEventsWait(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		kv, err := w.JS.KeyValue(t.Context(), stream.SchemaBucket)
		require.NoError(t, err)
		_, err = kv.Put(t.Context(), "acme."+created+".1", []byte(`{"type":"objekt"}`))
		require.NoError(t, err)
		w.Pass(time.Second)
		publishOrder(w, "1", `{"order":1}`)
		w.Publish("acme", "com.acme.other", `{}`)
		w.Pass(time.Hour)
		require.Len(t, r.Hits(), 1, "only the other type goes on")
		assert.Equal(t, 1, w.Count(stream.Retries))
		assert.Zero(t, w.Count(stream.DeadLetters))
		assert.Contains(t, w.LogText(), "a stored schema cannot be used; events that it is for wait until it is deleted or mended")
		s := newRegistrar(w)
		assert.Equal(t, operator.Changed, s.apply(1, onlyNum).Kind, "one that was never in use can be mended")
		w.Pass(2 * time.Minute)
		require.Len(t, r.Hits(), 2)

		_, err = kv.Put(t.Context(), "acme."+created+".2", []byte(`{`))
		require.NoError(t, err)
		w.Pass(time.Second)
		publishOrder(w, "2", `{"order":1}`)
		w.Sleep(6*24*time.Hour + time.Hour)
		w.Start()
		w.Pass(10 * time.Minute)
		assert.Len(t, r.Hits(), 2)
		dead := letters(w)
		require.Len(t, dead, 1, "before the event ages out, it is told")
		assert.Contains(t, dead[0].Reasons[0], "its event is about to age out, and the schema could not be used in all that time")
		text, _ := dead[0].Body.Bytes()
		assert.Contains(t, string(text), `{"order":1}`)
	})
}

func TestReplayAfterTheSchemaWasMended(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 200))
		other := w.Receiver("other.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", schedule("10m")))
		w.Apply(other.Document("acme", "other", types("com.acme.other")))
		w.Start()
		w.Pass(time.Second)
		s := newRegistrar(w)
		s.apply(1, onlyNum)
		publishOrder(w, "1", `{"order":"x"}`)
		w.Pass(time.Second)
		require.Len(t, letters(w), 1)
		replayed := s.replay("event-1")
		require.Len(t, replayed, 1)
		assert.Equal(t, operator.Refused, replayed[0].Result)
		assert.Contains(t, replayed[0].Note, "data/order: is text, and must be a whole number; apply a version of the schema that accepts it")

		s.apply(2, onlyText)
		replayed = s.replay("event-1")
		require.Len(t, replayed, 1)
		assert.Equal(t, operator.Replayed, replayed[0].Result, replayed[0].Note)
		assert.Equal(t, "acme/orders", replayed[0].Endpoint)
		w.Pass(time.Minute)
		require.Len(t, r.Hits(), 1)
		assert.Equal(t, operator.Underway, s.replay("event-1")[0].Result, "once is enough")
		s.apply(3, onlyNum) // it would be refused under this one
		w.Pass(time.Hour)
		require.Len(t, r.Hits(), 2, "the second attempt")
		for _, hit := range r.Hits() {
			assert.Equal(t, versionURI(2), dataschema(w, hit))
		}
		assert.Len(t, r.Hits(), 2)
		assert.Empty(t, other.Hits())
	})
}

// TestSignersAgreeOnVersions applies a version every second, under traffic and with signers that come and go: each event
// names the version that was in force when the broker stored it.
func TestSignersAgreeOnVersions(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		killed := w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(time.Second)
		traffic := w.Traffic(20*time.Millisecond, "acme", created)
		s := newRegistrar(w)
		for i := 1; i <= 8; i++ {
			s.apply(i, fmt.Sprintf(`{"title":"version %d"}`, i))
			w.Pass(450 * time.Millisecond)
			if i == 4 {
				killed.Kill()
				w.StartSigner(w.Broker.Option())
			}
		}
		sent := traffic.Stop()
		w.Pass(5 * time.Minute)
		require.Greater(t, sent, 300)
		assert.Zero(t, traffic.Arrived(r))

		set, err := s.Schemas(t.Context(), "acme")
		require.NoError(t, err)
		versions := set.Set(schema.Kind{Tenant: "acme", Type: created})
		require.Len(t, versions.Versions(), 8)
		events, err := w.JS.Stream(t.Context(), stream.Events)
		require.NoError(t, err)
		stored := map[string]time.Time{}
		for sequence := uint64(1); ; sequence++ {
			msg, err := events.GetMsg(t.Context(), sequence)
			if err != nil {
				require.ErrorIs(t, err, jetstream.ErrMsgNotFound)
				break
			}
			stored[msg.Header["ce-id"][0]] = msg.Time
		}
		named := map[string]int{}
		for _, hit := range r.Hits() {
			var e struct {
				ID string `json:"id"`
			}
			require.NoError(t, json.Unmarshal(hit.Body, &e))
			want := ""
			if v := versions.Newest(stored[e.ID]); v != nil {
				want = v.URI
			}
			require.Equal(t, want, dataschema(w, hit), "event of %s", stored[e.ID])
			named[want]++
		}
		assert.Len(t, named, 9, "every version, and none at the beginning")
	})
}

func TestASchemaTakenBack(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		s := newRegistrar(w)
		s.apply(1, onlyNum)
		name := schema.Name{Kind: schema.Kind{Tenant: "acme", Type: created}, Number: 1}
		publishOrder(w, "1", `{"order":"x"}`)
		change, err := s.DeleteSchema(t.Context(), name)
		require.NoError(t, err)
		assert.Equal(t, operator.Deleted, change.Kind)
		publishOrder(w, "2", `{"order":"x"}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1, "without a schema it passes as it is")
		assert.Empty(t, dataschema(w, r.Hits()[0]))
		replayed := s.replay("event-1")
		require.Equal(t, operator.Replayed, replayed[0].Result, replayed[0].Note)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 2)
		assert.Empty(t, dataschema(w, r.Hits()[1]))

		document, err := schema.Compile([]byte(anyOrder))
		require.NoError(t, err)
		_, err = s.ApplySchema(t.Context(), name.Kind, 1, document, "", false)
		require.ErrorContains(t, err, "version 1 of the schema of acme/com.acme.order.created is there with another content, and a version never changes, because receivers rely on it; apply this one as version 2")
		assert.Equal(t, operator.Restored, s.apply(1, onlyNum).Kind)
		assert.Equal(t, operator.Unchanged, s.apply(1, onlyNum).Kind)
		assert.Equal(t, 1, s.apply(0, onlyNum).Version)
		assert.Equal(t, 2, s.apply(0, anyOrder).Version)
		publishOrder(w, "3", `{"order":"x"}`)
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 3)
	})
}

// TestARecordDoesNotChooseABody: dispatchers write records, too, and must not get words of theirs into a signed body.
func TestARecordDoesNotChooseABody(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		publishOrder(w, "1", `{"order":1}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		receipts := w.Receipts()
		require.Len(t, receipts, 1)
		forged := delivery.Retry{
			Delivery: receipts[0].Delivery, Tenant: "acme", Endpoint: "orders", Event: 1, Attempt: 2, First: time.Now(),
			Schema: "https://evil.example.com/schema", Outcome: delivery.Unavailable,
		}
		msg, _, err := w.Topology.ScheduleMessage(forged, time.Now(), "")
		require.NoError(t, err)
		_, err = w.JS.PublishMsg(t.Context(), msg)
		require.NoError(t, err)
		w.Pass(time.Hour)
		assert.Len(t, r.Hits(), 1, "it waits, as for any schema that is not known")
		assert.Contains(t, w.LogText(), "which is not known")
	})
}

// TestARestoredVersionDoesNotReachBack: what was published while a version was deleted keeps the body of its first attempt
// when the version is restored before the second.
func TestARestoredVersionDoesNotReachBack(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 503, 200))
		w.Apply(r.Document("acme", "orders", schedule("10m", "10m")))
		w.Start()
		w.Pass(time.Second)
		s := newRegistrar(w)
		name := schema.Name{Kind: schema.Kind{Tenant: "acme", Type: created}, Number: 1}
		remove := func() {
			change, err := s.DeleteSchema(t.Context(), name)
			require.NoError(t, err)
			require.Equal(t, operator.Deleted, change.Kind)
		}
		s.apply(1, onlyNum)
		remove()
		publishOrder(w, "1", `{"order":"x"}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		require.Equal(t, operator.Restored, s.apply(1, onlyNum).Kind)
		w.Pass(11 * time.Minute)
		require.Len(t, r.Hits(), 2)
		remove()
		require.Equal(t, operator.Restored, s.apply(1, onlyNum).Kind, "as often as one likes")
		w.Sleep(time.Second) // and for a signer that has seen nothing of it
		w.Start()
		s = newRegistrar(w)
		w.Pass(11 * time.Minute)
		require.Len(t, r.Hits(), 3)
		for _, hit := range r.Hits() {
			assert.Equal(t, string(r.Hits()[0].Body), string(hit.Body))
		}
		assert.Empty(t, letters(w))
		publishOrder(w, "2", `{"order":"x"}`)
		w.Pass(time.Second)
		require.Len(t, letters(w), 1, "it is in force again")
		remove()
		publishOrder(w, "3", `{"order":"x"}`)
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 4, "and not any more")
	})
}

// TestWhatWaitedForABrokenSchemaIsChecked: a schema that is mended is in force for what has waited for it.
func TestWhatWaitedForABrokenSchemaIsChecked(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		kv, err := w.JS.KeyValue(t.Context(), stream.SchemaBucket)
		require.NoError(t, err)
		for range 2 { // its time is that of the last broken one
			_, err = kv.Put(t.Context(), "acme."+created+".1", []byte(`{"type":"objekt"}`))
			require.NoError(t, err)
		}
		w.Pass(time.Second)
		publishOrder(w, "good", `{"order":1}`)
		publishOrder(w, "bad", `{"order":"x"}`)
		w.Pass(time.Minute)
		require.Empty(t, r.Hits())
		require.Equal(t, operator.Changed, newRegistrar(w).apply(1, onlyNum).Kind)
		w.Pass(3 * time.Minute)
		require.Len(t, r.Hits(), 1)
		assert.Equal(t, versionURI(1), dataschema(w, r.Hits()[0]))
		dead := letters(w)
		require.Len(t, dead, 1)
		assert.Contains(t, dead[0].Reasons, "data/order: is text, and must be a whole number")
		assert.Zero(t, w.Count(stream.Retries))
	})
}

// TestAViolationIsReplayedOnceHoweverOftenItIsAskedFor asks while the endpoint is paused, so that the first replay stands
// in its backlog when the second one is asked for, after the broker has forgotten its message id.
func TestAViolationIsReplayedOnceHoweverOftenItIsAskedFor(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", paused))
		w.Start()
		w.Pass(time.Second)
		s := newRegistrar(w)
		s.apply(1, onlyNum)
		w.Pass(time.Second)
		publishOrder(w, "1", `{"order":"text"}`)
		w.Pass(time.Second)
		s.apply(2, anyOrder)
		w.Pass(time.Second)
		event := "event-" + strconv.FormatUint(letters(w)[0].Event, 10)
		assert.Equal(t, operator.Replayed, s.replay(event)[0].Result)
		for _, later := range []time.Duration{time.Second, time.Hour} {
			w.Pass(later)
			again := s.replay(event)
			require.Len(t, again, 1)
			assert.Equal(t, operator.Underway, again[0].Result, again[0].Note)
		}
		require.Equal(t, 1, w.Count(stream.Backlog))
		w.Apply(r.Document("acme", "orders"))
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), 1)
	})
}
