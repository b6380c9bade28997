package operator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/listener"
	"github.com/handfast/handfast/services/handfast/local"
	"github.com/handfast/handfast/services/handfast/operator"
)

// running is a whole Handfast in this process, and an Operator on it.
type running struct {
	*operator.Operator

	d   *local.Deployment
	dir string
}

func start(t *testing.T) running {
	t.Helper()
	dir := t.TempDir()
	d, err := local.Start(t.Context(), local.Options{
		Dir: dir, Topology: stream.Topology{Partitions: 4}, Allow: []string{"127.0.0.0/8"}, Version: "test", Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Stop(context.WithoutCancel(t.Context()))) })
	return running{Operator: operator.New(d.JS, d.Topology), d: d, dir: dir}
}

// receive opens a receiver for acme/orders, applies the endpoint, and gives what arrives.
func (r running) receive(t *testing.T, statuses ...int) <-chan listener.Delivery {
	t.Helper()
	shown := make(chan listener.Delivery, 64)
	l, err := listener.Open(t.Context(), listener.Options{
		Address: "127.0.0.1:0", Dir: r.dir, Statuses: statuses, Show: func(d listener.Delivery) { shown <- d },
		Keys: func(ctx context.Context) (all []signature.Verifier, err error) {
			ring, err := r.Keys(ctx, orders, r.d.Vault)
			for _, k := range ring.Keys() {
				v, err := k.Verifier()
				if err != nil {
					return nil, err
				}
				all = append(all, v)
			}
			return all, err
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	r.apply(t, l.Document("acme", "orders"))
	return shown
}

var orders = endpoint.Key{Tenant: "acme", Name: "orders"}

func (r running) apply(t *testing.T, document string) {
	t.Helper()
	_, err := r.d.Apply(t.Context(), []byte(document)) // returns when it is in force
	require.NoError(t, err)
}

// publish publishes and waits for the outcome.
func (r running) publish(t *testing.T, id string) (operator.Published, error) {
	t.Helper()
	e := cloudevents.New()
	e.SetID(id)
	e.SetSource("/shop")
	e.SetType("com.acme.order.created")
	p, err := r.Publish(t.Context(), "acme", e)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return p, r.Await(ctx, p, func(operator.Progress) error { return nil })
}

// place waits until a delivery stands somewhere.
func (r running) place(t *testing.T, id delivery.ID, place string, attempts int) operator.Shown {
	t.Helper()
	var shown operator.Shown
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		shown, err = r.Delivery(t.Context(), id)
		if assert.NoError(c, err) {
			assert.Equal(c, place, shown.Place)
			assert.Len(c, shown.Attempts, attempts)
		}
	}, 20*time.Second, 50*time.Millisecond)
	return shown
}

func (r running) replay(t *testing.T, ids ...delivery.ID) []operator.Replay {
	t.Helper()
	chosen, err := r.Find(t.Context(), ids)
	require.NoError(t, err)
	var all []operator.Replay
	require.NoError(t, r.Replay(t.Context(), chosen, func(one operator.Replay) error {
		all = append(all, one)
		return nil
	}))
	return all
}

// An event that has aged out is replayed from its dead letter, with the same bytes and the same id, and its schedule
// counts anew.
func TestReplayAfterTheEventHasAgedOut(t *testing.T) {
	r := start(t)
	arrived := r.receive(t, 404, 200)
	p, err := r.publish(t, "1")
	var dead *operator.DeadError
	require.ErrorAs(t, err, &dead)
	id := p.Expected[0].Delivery
	require.Equal(t, []delivery.ID{id}, dead.Deliveries)
	first := <-arrived

	events, err := r.d.JS.Stream(t.Context(), stream.Events)
	require.NoError(t, err)
	require.NoError(t, events.DeleteMsg(t.Context(), p.Sequence))

	assert.Equal(t, []operator.Replay{{Delivery: id, Endpoint: "acme/orders", Result: operator.Replayed, Attempt: 2}}, r.replay(t, id))
	second := <-arrived
	assert.Equal(t, listener.Verified, second.Signature, second.Reason)
	assert.Equal(t, first.ID, second.ID)
	assert.Equal(t, string(first.Data), string(second.Data))
	shown := r.place(t, id, operator.Delivered, 2)
	assert.Equal(t, "com.acme.order.created", shown.Attempts[1].Event.Type)
	assert.Contains(t, shown.Words, "it had been given up at")

	// Once more: a delivered one can be replayed on purpose, and asking twice is asking once.
	both := r.replay(t, id, id)
	assert.Equal(t, operator.Replayed, both[0].Result)
	assert.Equal(t, operator.Underway, both[1].Result)
	<-arrived
	r.place(t, id, operator.Delivered, 3)
	assert.Empty(t, arrived)
}

func TestReplayIsRefusedWithWords(t *testing.T) {
	r := start(t)
	arrived := r.receive(t, 410)
	p, err := r.publish(t, "1")
	require.Error(t, err)
	<-arrived
	id := p.Expected[0].Delivery
	refused := r.replay(t, id)[0]
	assert.Equal(t, operator.Refused, refused.Result)
	assert.Contains(t, refused.Note, "endpoint acme/orders is disabled")
	assert.Contains(t, refused.Note, "apply its document again first")

	_, err = r.Pause(t.Context(), orders)
	require.ErrorContains(t, err, "is disabled already")
	held, err := r.Endpoint(t.Context(), orders)
	require.NoError(t, err)
	require.Equal(t, "disabled", held.State())
	changes, err := r.Apply(t.Context(), []*endpoint.Endpoint{held.Endpoint}, operator.Application{})
	require.NoError(t, err)
	assert.Equal(t, operator.Enabled, changes[0].Kind)
	assert.Contains(t, changes[0].Note, "deliveries were switched off at")
	held, err = r.Endpoint(t.Context(), orders)
	require.NoError(t, err)
	assert.Equal(t, "active", held.State())

	// Neither the event nor a payload is left.
	events, err := r.d.JS.Stream(t.Context(), stream.Events)
	require.NoError(t, err)
	require.NoError(t, events.Purge(t.Context()))
	letters, err := r.d.JS.Stream(t.Context(), stream.DeadLetters)
	require.NoError(t, err)
	require.NoError(t, letters.Purge(t.Context()))
	refused = r.replay(t, id)[0]
	assert.Equal(t, operator.Refused, refused.Result)
	assert.Contains(t, refused.Note, "there is nothing left to send")

	_, err = r.Find(t.Context(), []delivery.ID{"msg_a", "no.token"})
	require.ErrorContains(t, err, "nothing is known about delivery msg_a")
	require.ErrorContains(t, err, `"no.token" is not the id of a delivery`)
}

// A message that is no event has a dead letter, and nothing to replay.
func TestRefusedMessage(t *testing.T) {
	r := start(t)
	_, err := r.d.JS.Publish(t.Context(), "events.acme.order", []byte("no event"))
	require.NoError(t, err)
	var all []operator.Letter
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		var err error
		all, err = r.DeadLetters(t.Context(), operator.Filter{Endpoint: endpoint.Key{Tenant: "acme"}})
		assert.NoError(c, err)
		assert.Len(c, all, 1)
	}, 20*time.Second, 50*time.Millisecond)
	assert.Equal(t, "event-1", all[0].ID)
	require.NoError(t, r.Replay(t.Context(), operator.ChooseLetters(all), func(one operator.Replay) error {
		assert.Equal(t, operator.Refused, one.Result)
		assert.Contains(t, one.Note, "publish it again, corrected")
		return nil
	}))
}

// Lists are right across the blocks in which a stream is read backwards: the newest attempt counts, the newest comes first.
func TestListAcrossBlocks(t *testing.T) {
	r := start(t)
	const deliveries = 3000
	began := time.Now().UTC().Truncate(time.Second)
	for attempt := 1; attempt <= 2; attempt++ {
		for i := range deliveries {
			one := receipt.Receipt{
				Delivery: delivery.ID(fmt.Sprintf("msg_%04d", i)), Tenant: "acme", Endpoint: []string{"orders", "billing"}[i%2],
				Event: receipt.Event{Sequence: uint64(i + 1), ID: fmt.Sprint("e", i)}, Attempt: attempt, Origin: delivery.Said,
				Outcome: delivery.Unavailable, First: began, At: began,
			}
			if attempt == 2 && i%10 != 0 {
				one.Outcome = delivery.Delivered
			}
			data, err := json.Marshal(one)
			require.NoError(t, err)
			_, err = r.d.JS.PublishAsync(stream.ReceiptSubject(endpoint.Key{Tenant: one.Tenant, Name: one.Endpoint}), data)
			require.NoError(t, err)
		}
	}
	<-r.d.JS.PublishAsyncComplete()

	for name, c := range map[string]struct {
		filter      operator.Filter
		want        int
		first, last string
	}{
		"all":          {operator.Filter{}, deliveries, "msg_2999", "msg_0000"},
		"limit":        {operator.Filter{Limit: 1500}, 1500, "msg_2999", "msg_1500"},
		"outcome":      {operator.Filter{Outcomes: []delivery.Outcome{delivery.Unavailable}}, deliveries / 10, "msg_2990", "msg_0000"},
		"endpoint":     {operator.Filter{Endpoint: orders}, deliveries / 2, "msg_2998", "msg_0000"},
		"event by id":  {operator.Filter{Event: "e7"}, 1, "msg_0007", "msg_0007"},
		"event by seq": {operator.Filter{Event: "8"}, 1, "msg_0007", "msg_0007"},
		"delivery":     {operator.Filter{Deliveries: []delivery.ID{"msg_0007"}}, 1, "msg_0007", "msg_0007"},
		"too late":     {operator.Filter{Since: time.Now().Add(time.Hour)}, 0, "", ""},
		"too early":    {operator.Filter{Until: began.Add(-time.Hour)}, 0, "", ""},
		"other tenant": {operator.Filter{Endpoint: endpoint.Key{Tenant: "beta"}}, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := r.Deliveries(t.Context(), c.filter)
			require.NoError(t, err)
			require.Len(t, all, c.want)
			for i, one := range all {
				assert.Equal(t, 2, one.Attempt)
				if i > 0 {
					assert.Less(t, one.Delivery, all[i-1].Delivery)
				}
			}
			if c.want > 0 {
				assert.Equal(t, c.first, string(all[0].Delivery))
				assert.Equal(t, c.last, string(all[c.want-1].Delivery))
			}
		})
	}
}

// What was compared is what is replaced: a change in between is told, never lost.
func TestApplySeesWhatOthersDo(t *testing.T) {
	r := start(t)
	parsed, err := operator.ParseDocuments([]operator.Source{{Name: "x", Text: []byte("tenant: acme\nname: orders\nurl: https://one.example/\nfilter: {types: [a]}\n")}})
	require.NoError(t, err)
	changes, err := r.Apply(t.Context(), parsed, operator.Application{Dry: true})
	require.NoError(t, err)
	assert.Equal(t, operator.Created, changes[0].Kind)
	_, err = r.Endpoint(t.Context(), orders)
	var missing *operator.NotFoundError
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, "there is no endpoint acme/orders; tenant acme has none; `handfast endpoint list` shows all, and `handfast endpoint apply -f FILE` makes one", err.Error())

	changes, err = r.Apply(t.Context(), parsed, operator.Application{})
	require.NoError(t, err)
	assert.Equal(t, operator.Created, changes[0].Kind)
	assert.True(t, r.AwaitKeys(t.Context(), orders, 20*time.Second))
	ring, err := r.Keys(t.Context(), orders, r.d.Vault)
	require.NoError(t, err)
	assert.Len(t, ring.Keys(), 2)

	// A document that later rules refuse does not stand in the way of a good one.
	kv, err := r.d.JS.KeyValue(t.Context(), stream.EndpointBucket)
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), stream.EndpointKey(orders, r.d.Topology.Partitions), []byte(`{"tenant":"acme"}`))
	require.NoError(t, err)
	_, err = r.Endpoint(t.Context(), orders)
	require.ErrorContains(t, err, "the stored document of acme/orders cannot be read; apply a good one")
	all, err := r.Endpoints(t.Context(), "")
	require.ErrorContains(t, err, "acme/orders cannot be read")
	assert.Empty(t, all)
	changes, err = r.Apply(t.Context(), parsed, operator.Application{})
	require.NoError(t, err)
	assert.Equal(t, operator.Changed, changes[0].Kind)
	assert.Contains(t, changes[0].Note, "could not be read")
}
