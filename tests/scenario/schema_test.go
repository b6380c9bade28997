package scenario

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

const (
	created  = "com.acme.order.created"
	onlyText = `{"type":"object","required":["order"],"properties":{"order":{"type":"string"}}}`
	onlyNum  = `{"type":"object","required":["order"],"properties":{"order":{"type":"integer","minimum":1},"note":{"type":"string"}},"additionalProperties":false}`
	anyOrder = `{"type":"object","required":["order"]}`
)

func versionURI(n int) string { return fmt.Sprintf("urn:handfast:schema:acme:%s:%d", created, n) }

// registrar looks after schemas as a person does.
type registrar struct {
	*operator.Operator

	w *kit.World
}

func newRegistrar(w *kit.World) registrar { return registrar{operator.New(w.JS, w.Topology), w} }

func (r registrar) apply(number int, text string) operator.SchemaChange {
	r.w.T.Helper()
	document, err := schema.Compile([]byte(text))
	require.NoError(r.w.T, err)
	change, err := r.ApplySchema(r.w.T.Context(), schema.Kind{Tenant: "acme", Type: created}, number, document, "", false)
	require.NoError(r.w.T, err)
	return change
}

func (r registrar) replay(ids ...string) []operator.Replay {
	r.w.T.Helper()
	var wanted []delivery.ID
	for _, id := range ids {
		wanted = append(wanted, delivery.ID(id))
	}
	letters, err := r.DeadLetters(r.w.T.Context(), operator.Filter{Deliveries: wanted})
	require.NoError(r.w.T, err)
	require.Len(r.w.T, letters, len(ids))
	var all []operator.Replay
	require.NoError(r.w.T, r.Replay(r.w.T.Context(), operator.ChooseLetters(letters), func(one operator.Replay) error {
		all = append(all, one)
		return nil
	}))
	return all
}

// publishOrder publishes in binary mode with attributes of one's own.
func publishOrder(w *kit.World, id, data string, more ...string) {
	w.T.Helper()
	header := nats.Header{"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/tests"}, "ce-type": {created}, "ce-datacontenttype": {"application/json"}}
	for i := 0; i+1 < len(more); i += 2 {
		header[more[i]] = []string{more[i+1]}
	}
	_, err := w.JS.PublishMsg(w.T.Context(), &nats.Msg{Subject: "events.acme." + created, Header: header, Data: []byte(data)})
	require.NoError(w.T, err)
}

func letters(w *kit.World) []delivery.DeadLetter {
	w.T.Helper()
	var all []delivery.DeadLetter
	for _, data := range w.DeadLetters() {
		var l delivery.DeadLetter
		require.NoError(w.T, json.Unmarshal(data, &l))
		all = append(all, l)
	}
	return all
}

func dataschema(w *kit.World, hit kit.Hit) string {
	w.T.Helper()
	var e struct {
		DataSchema string `json:"dataschema"`
	}
	require.NoError(w.T, json.Unmarshal(hit.Body, &e))
	return e.DataSchema
}

func pin(version string) func(map[string]any) {
	return func(d map[string]any) { d["schema"] = map[string]any{"pin": map[string]any{created: version}} }
}

func TestEventsAreCheckedAgainstTheirSchema(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		first := w.Receiver("one.example.com", kit.Answer(http.StatusOK))
		second := w.Receiver("two.example.com", kit.Answer(http.StatusOK))
		w.Apply(first.Document("acme", "one"))
		w.Apply(second.Document("acme", "two"))
		w.Start()
		w.Pass(time.Second)
		publishOrder(w, "before", `{"order":"x","extra":[1.10]}`)
		w.Pass(time.Second)
		require.Len(t, first.Hits(), 1)
		assert.JSONEq(t, `{"specversion":"1.0","id":"before","source":"/tests","type":"com.acme.order.created","datacontenttype":"application/json","data":{"order":"x","extra":[1.10]}}`,
			string(first.Hits()[0].Body), "without a schema an event is as it was published")

		r := newRegistrar(w)
		change := r.apply(0, onlyNum)
		assert.Equal(t, operator.SchemaChange{Schema: "acme/" + created, Version: 1, Kind: operator.Created, URI: versionURI(1)}, change)
		publishOrder(w, "good", `{"order":1}`)
		publishOrder(w, "bad", `{"order":0,"note":7,"x":1}`)
		publishOrder(w, "text", `order 1`, "ce-datacontenttype", "text/plain")
		publishOrder(w, "foreign", `{"order":2}`, "ce-dataschema", "https://elsewhere.example.com/order")
		publishOrder(w, "foreign-bad", `{}`, "ce-dataschema", "https://elsewhere.example.com/order")
		publishOrder(w, "unknown", `{"order":3}`, "ce-dataschema", versionURI(9))
		publishOrder(w, "ours", `{"order":4}`, "ce-dataschema", versionURI(1))
		_, err := w.JS.PublishMsg(t.Context(), &nats.Msg{
			Subject: "events.acme." + created, Header: nats.Header{"Content-Type": {"application/cloudevents+json"}},
			Data: []byte(`{ "id":"structured","source":"/tests","type":"com.acme.order.created","specversion":"1.0","data":{"order":5 } }`),
		})
		require.NoError(t, err)
		w.Pass(5 * time.Second)

		for _, receiver := range []*kit.Receiver{first, second} {
			got := map[string]string{}
			for _, hit := range receiver.Hits()[1:] {
				var e struct {
					ID string `json:"id"`
				}
				require.NoError(t, json.Unmarshal(hit.Body, &e))
				got[e.ID] = dataschema(w, hit)
				if e.ID == "structured" {
					//nolint:testifylint // byte for byte
					assert.Equal(t, []byte(`{"dataschema":"urn:handfast:schema:acme:com.acme.order.created:1", "id":"structured","source":"/tests","type":"com.acme.order.created","specversion":"1.0","data":{"order":5 } }`),
						hit.Body, "every other byte is as it was published")
				}
			}
			assert.Equal(t, map[string]string{
				"good": versionURI(1), "ours": versionURI(1), "structured": versionURI(1), "foreign": "https://elsewhere.example.com/order",
			}, got)
		}
		reasons := map[string][]string{}
		for _, l := range letters(w) {
			assert.Empty(t, l.Endpoint, "for the event, and for no endpoint")
			reasons[strings.Join(map[string][]string(l.Header)["ce-id"], "")] = l.Reasons
		}
		const broke = "the event breaks version 1 of the schema of com.acme.order.created"
		assert.Equal(t, map[string][]string{
			"bad":         {broke, `data: has "x", which the schema does not know`, "data/note: is a number, and must be text", "data/order: must be at least 1"},
			"text":        {broke, "data: is not JSON, and only JSON can be checked against a schema: publish it with datacontenttype application/json, or under a type without a schema"},
			"foreign-bad": {broke, `data: lacks "order"`},
			"unknown":     {"the event breaks the rules of its schemas", `ce-dataschema: is "` + versionURI(9) + `", which names no version of the schema of com.acme.order.created; leave it out for the newest, or apply that version first`},
		}, reasons)
		assert.NotContains(t, w.LogText(), "order 1")
		for _, outcome := range w.Outcomes() {
			require.Equal(t, delivery.Delivered, outcome)
		}
	})
}

// TestARetryHasTheBodyOfTheFirstAttempt applies a newer version, deletes the old one and pins it elsewhere between two
// attempts, with everything stopped in the middle and another signer afterwards.
func TestARetryHasTheBodyOfTheFirstAttempt(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 503, 200))
		w.Apply(r.Document("acme", "orders", schedule("10m", "10m")))
		w.StartSigner(w.Broker.Option())
		w.Start()
		w.Pass(time.Second)
		newRegistrar(w).apply(1, onlyNum)
		publishOrder(w, "1", `{"order":1}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		newRegistrar(w).apply(2, anyOrder)
		w.Pass(11 * time.Minute)
		require.Len(t, r.Hits(), 2)
		_, err := newRegistrar(w).DeleteSchema(t.Context(), schema.Name{Kind: schema.Kind{Tenant: "acme", Type: created}, Number: 1})
		require.NoError(t, err)
		w.Apply(r.Document("acme", "orders", schedule("10m", "10m"), pin("2")))
		w.Sleep(12 * time.Minute)
		w.Start()
		w.Pass(time.Minute)
		hits := r.Hits()
		require.Len(t, hits, 3)
		for _, hit := range hits {
			assert.Equal(t, versionURI(1), dataschema(w, hit))
			assert.Equal(t, string(hits[0].Body), string(hit.Body))
		}
		publishOrder(w, "2", `{"order":"anything"}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 4)
		assert.Equal(t, versionURI(2), dataschema(w, r.Hits()[3]))
	})
}

func TestAPinnedEndpoint(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		stays := w.Receiver("stays.example.com", kit.Answer(200))
		goes := w.Receiver("goes.example.com", kit.Answer(200))
		w.Apply(goes.Document("acme", "goes"))
		w.Start()
		w.Pass(time.Second)
		s := newRegistrar(w)
		s.apply(1, onlyNum)
		s.apply(2, anyOrder)
		w.Apply(stays.Document("acme", "stays", pin("1")))
		w.Pass(time.Second)
		publishOrder(w, "both", `{"order":1}`)
		publishOrder(w, "newest", `{"order":"x","y":1}`)
		publishOrder(w, "none", `{}`)
		w.Pass(time.Second)
		require.Len(t, goes.Hits(), 2)
		for _, hit := range goes.Hits() {
			assert.Equal(t, versionURI(2), dataschema(w, hit))
		}
		require.Len(t, stays.Hits(), 1, "only what keeps the pinned version")
		assert.Equal(t, versionURI(1), dataschema(w, stays.Hits()[0]))
		dead := letters(w)
		require.Len(t, dead, 2)
		slices.SortFunc(dead, func(a, b delivery.DeadLetter) int { return strings.Compare(a.Endpoint, b.Endpoint) })
		assert.Empty(t, dead[0].Endpoint)
		assert.Equal(t, "stays", dead[1].Endpoint)
		assert.Equal(t, []string{
			"the event breaks version 1 of the schema of com.acme.order.created",
			`data: has "y", which the schema does not know`, "data/order: is text, and must be a whole number",
		}, dead[1].Reasons)

		_, err := s.DeleteSchema(t.Context(), schema.Name{Kind: schema.Kind{Tenant: "acme", Type: created}, Number: 1})
		require.ErrorContains(t, err, "version 1 of the schema of acme/com.acme.order.created is pinned by acme/stays; change schema.pin there first")
		replayed := s.replay(string(dead[1].Delivery))
		require.Len(t, replayed, 1)
		assert.Equal(t, operator.Refused, replayed[0].Result)
		assert.Contains(t, replayed[0].Note, "data/order: is text, and must be a whole number")

		w.Apply(stays.Document("acme", "stays", pin("2")))
		w.Pass(time.Second)
		replayed = s.replay(string(dead[1].Delivery))
		require.Equal(t, operator.Replayed, replayed[0].Result, replayed[0].Note)
		w.Pass(time.Second)
		require.Len(t, stays.Hits(), 2)
		assert.Equal(t, versionURI(2), dataschema(w, stays.Hits()[1]))
	})
}

// TestAPinThatIsGone takes the pinned version out of the bucket by hand.
func TestAPinThatIsGone(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		stays := w.Receiver("stays.example.com", kit.Answer(200))
		goes := w.Receiver("goes.example.com", kit.Answer(200))
		w.Apply(goes.Document("acme", "goes"))
		w.Apply(stays.Document("acme", "stays", pin("1")))
		w.Start()
		w.Pass(time.Second)
		s := newRegistrar(w)
		s.apply(1, onlyNum)
		s.apply(2, anyOrder)
		kv, err := w.JS.KeyValue(t.Context(), stream.SchemaBucket)
		require.NoError(t, err)
		require.NoError(t, kv.Delete(t.Context(), "acme."+created+".1"))
		w.Pass(time.Second)
		publishOrder(w, "1", `{"order":1}`)
		w.Pass(time.Hour)
		require.Len(t, goes.Hits(), 1)
		assert.Empty(t, stays.Hits(), "it waits")
		assert.Equal(t, 1, w.Count(stream.Retries))
		assert.Zero(t, w.Count(stream.DeadLetters))
		assert.Contains(t, w.LogText(), "there is no such version")
		s.apply(1, onlyNum)
		w.Pass(2 * time.Minute)
		require.Len(t, stays.Hits(), 1)
		assert.Equal(t, versionURI(1), dataschema(w, stays.Hits()[0]))
		require.Len(t, goes.Hits(), 1)
	})
}
