package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// shelve puts a delivery that carries its payload into the backlog of acme/orders, as a signer does.
func shelve(t *testing.T, w *kit.World, id, contentType, body string) {
	t.Helper()
	key := endpoint.Key{Tenant: "acme", Name: "orders"}
	stamp, err := seal.Vault(w.Vault).Stamp("payload of a delivery", []byte(id), []byte(key.String()), []byte(contentType), []byte(body))
	require.NoError(t, err)
	data, err := json.Marshal(delivery.Retry{
		Delivery: delivery.ID(id), Tenant: key.Tenant, Endpoint: key.Name, Event: 1, Attempt: 1, First: time.Now(), Outcome: delivery.LaneFull,
		Inline: &delivery.Inline{ContentType: contentType, Body: []byte(body), Type: "a.b", Source: "/tests", ID: id, Stamp: stamp},
	})
	require.NoError(t, err)
	_, err = w.JS.PublishMsg(t.Context(), &nats.Msg{Subject: stream.BacklogSubject(key, w.Topology.Partitions), Data: data})
	require.NoError(t, err)
}

// TestAnOldDeliveryBehindAYoungOneKeepsItsPayload has the retry of an old event come into a backlog whose head is young:
// its event ages out while nothing at the head is old enough to be looked at.
func TestAnOldDeliveryBehindAYoungOneKeepsItsPayload(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.TendInterval = time.Minute
		var works atomic.Bool
		r := w.Receiver("hooks.example.com", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if !works.Load() {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		twice, one := schedule("48h", "48h"), limits(1, "10s")
		w.Apply(r.Document("acme", "orders", twice, one))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":"old"}`) // its first attempt fails, and the next is two days off
		w.Pass(5 * time.Minute)
		w.Sleep(45 * time.Hour)
		w.Apply(r.Document("acme", "orders", twice, one, paused))
		w.Start()
		w.Pass(time.Minute)
		w.Publish("acme", "com.acme.order.created", `{"order":"young"}`) // the head of the backlog
		w.Pass(time.Minute)
		w.Sleep(8*time.Hour + 30*time.Minute)
		w.Start()
		w.Pass(time.Hour)
		require.Equal(t, 2, w.Count(stream.Backlog), "the retry was due and stands behind it")
		for range 6 { // until day 8, when the old event is gone
			w.Sleep(day - 5*time.Minute)
			w.Start()
			w.Pass(5 * time.Minute)
		}
		before := len(r.Hits())
		works.Store(true)
		w.Apply(r.Document("acme", "orders", twice, one))
		w.Pass(time.Hour)
		assert.Zero(t, w.Count(stream.DeadLetters), "neither has lost its payload")
		hits := r.Hits()[before:]
		require.Len(t, hits, 2)
		assert.Contains(t, string(hits[0].Body), `"old"`, "and the older one is the first")
		assert.Contains(t, string(hits[1].Body), `"young"`)
	})
}

// TestPayloadsAreKeptBeyondTheFirstThousand stores more deliveries that carry their payload at the head of a backlog than
// are looked at in one go, and one that does not behind them.
func TestPayloadsAreKeptBeyondTheFirstThousand(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const ahead = 1100
		w := kit.New(t)
		w.Signer.TendInterval = time.Minute
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", paused))
		w.Start()
		w.Pass(time.Second)
		for i := range ahead {
			shelve(t, w, fmt.Sprintf("msg_%d", i), "application/json", `{}`)
		}
		w.Publish("acme", "com.acme.order.created", `{"order":"behind"}`)
		w.Pass(time.Minute)
		for range 8 {
			w.Sleep(day - 5*time.Minute)
			w.Start()
			w.Pass(5 * time.Minute)
		}
		require.Zero(t, w.Count(stream.Events), "the event has aged out")
		w.Apply(r.Document("acme", "orders"))
		w.Pass(time.Hour)
		assert.Zero(t, w.Count(stream.DeadLetters), "what stood behind them has its payload")
		assert.Len(t, r.Hits(), ahead+1)
	})
}

// distant is a broker to which everything takes its time, however much is under way at once. What comes back does not.
type distant struct {
	inner nats.InProcessConnProvider
	by    time.Duration
}

func (d distant) InProcessConn() (net.Conn, error) {
	server, err := d.inner.InProcessConn()
	if err != nil {
		return nil, err
	}
	type parcel struct {
		due  time.Time
		data []byte
	}
	client, near := net.Pipe()
	way := make(chan parcel, 1<<16)
	go func() {
		_, _ = io.Copy(near, server)
		_ = near.Close()
	}()
	go func() {
		defer close(way)
		for {
			data := make([]byte, 32<<10)
			n, err := near.Read(data)
			if err != nil {
				return
			}
			way <- parcel{time.Now().Add(d.by), data[:n]}
		}
	}()
	go func() {
		defer server.Close()
		for p := range way {
			<-time.After(time.Until(p.due)) // in virtual time
			if _, err := server.Write(p.data); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// afar is the world's broker, far away.
func afar(t *testing.T, w *kit.World, by time.Duration) nats.Option {
	t.Helper()
	var o nats.Options
	require.NoError(t, w.Broker.Option()(&o))
	return nats.InProcessServer(distant{o.InProcessServer, by})
}

// handedOut counts how often the broker has handed out a message from a consumer.
func handedOut(t *testing.T, w *kit.World, of, consumer string) uint64 {
	t.Helper()
	c, err := w.JS.Consumer(t.Context(), of, consumer)
	require.NoError(t, err)
	return c.CachedInfo().Delivered.Consumer
}

// TestALongBacklogGoesOutOverADistance: to look through a long backlog takes longer there than the broker waits for an
// acknowledgement. The wake-up stays with the signer that is at it, and it comes to an end.
func TestALongBacklogGoesOutOverADistance(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const waiting = 1700
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", paused))
		for i := range waiting {
			shelve(t, w, fmt.Sprintf("msg_%d", i), "application/json", `{}`)
		}
		w.StartSigner(afar(t, w, 50*time.Millisecond))
		w.StartDispatcher(w.Broker.Option())
		w.Pass(time.Second)
		w.Apply(r.Document("acme", "orders"))
		w.Pass(2 * time.Second)
		before := handedOut(t, w, stream.Retries, stream.DueConsumer)
		require.NotZero(t, before, "it is at it")
		w.Pass(stream.AckWait + 10*time.Second)
		require.Equal(t, waiting, w.Count(stream.Backlog), "it is still looking")
		assert.Equal(t, before, handedOut(t, w, stream.Retries, stream.DueConsumer), "and nobody is given the wake-up a second time")
		w.Pass(2 * time.Minute)
		assert.Less(t, w.Count(stream.Backlog), waiting, "some have gone out by now")
		assert.NotEmpty(t, r.Hits())
	})
}

// TestOneThatCannotBeSignedStopsNobody puts a delivery that a scheme refuses at the head of a backlog.
func TestOneThatCannotBeSignedStopsNobody(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const behind = 20
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		signedWith := func(scheme string) func(map[string]any) {
			return func(d map[string]any) { d["signature"] = map[string]any{"schemes": []string{scheme}} }
		}
		one := limits(1, "10s")
		w.Apply(r.Document("acme", "orders", signedWith(signature.HTTPEd25519), one, paused))
		w.Start()
		w.Pass(time.Second)
		shelve(t, w, "msg_odd", "text/plain; name=\u00e4", "odd") // RFC 9421 signs visible ASCII only
		for i := range behind {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(time.Second)
		require.Equal(t, behind+1, w.Count(stream.Backlog))
		w.Apply(r.Document("acme", "orders", signedWith(signature.HTTPEd25519), one))
		w.Pass(4 * time.Second)
		require.Len(t, r.Hits(), behind, "those behind it go out")
		for i, hit := range r.Hits() {
			require.Equal(t, i, number(t, hit), "the oldest first")
		}
		assert.Equal(t, 1, w.Count(stream.Backlog), "it waits where it is")
		assert.Zero(t, w.Count(stream.DeadLetters))
		assert.Contains(t, w.LogText(), "1 of its deliveries cannot be signed at present")

		w.Pass(10 * time.Minute)
		assert.LessOrEqual(t, strings.Count(w.LogText(), "cannot be signed at present"), 30, "it is tried at longer and longer waits")
		assert.Len(t, r.Hits(), behind, "and nothing comes twice")
		w.Apply(r.Document("acme", "orders", signedWith(signature.V1), one))
		w.Pass(time.Minute)
		require.Len(t, r.Hits(), behind+1, "when it can be signed, it goes out, too")
		assert.Equal(t, "odd", string(r.Hits()[behind].Body))
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.Retries)+w.Count(stream.DeadLetters))
	})
}

// TestManyThatCannotBeSignedStopNobodyEither: they are passed over one pass after the other.
func TestManyThatCannotBeSignedStopNobodyEither(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const odd, behind = 600, 5
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		scheme := func(d map[string]any) { d["signature"] = map[string]any{"schemes": []string{signature.HTTPEd25519}} }
		w.Apply(r.Document("acme", "orders", scheme, paused))
		w.Start()
		w.Pass(time.Second)
		for i := range odd {
			shelve(t, w, fmt.Sprintf("msg_%d", i), "text/plain; name=\u00e4", "odd")
		}
		for i := range behind {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"n":%d}`, i))
		}
		w.Pass(time.Second)
		w.Apply(r.Document("acme", "orders", scheme))
		w.Pass(2 * time.Second)
		assert.Empty(t, r.Hits(), "the first pass ends at so many that it may well be all")
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), behind)
		w.Pass(10 * time.Minute)
		assert.Len(t, r.Hits(), behind)
		assert.Equal(t, odd, w.Count(stream.Backlog), "nothing is lost")
		assert.Zero(t, w.Count(stream.DeadLetters))
	})
}

// TestAnEventForHundredsOfWaitingEndpoints: over a slow way, one after the other would take longer than the time for one
// event.
func TestAnEventForHundredsOfWaitingEndpoints(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const waiting = 400
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		for i := range waiting {
			w.Apply(r.Document("acme", fmt.Sprintf("orders-%d", i), paused))
		}
		w.StartSigner(afar(t, w, 100*time.Millisecond))
		w.Pass(10 * time.Minute) // each of them gets its keys
		w.Publish("acme", "com.acme.order.created", `{}`)
		w.Pass(10 * time.Second)
		assert.Equal(t, waiting, w.Count(stream.Backlog), "each has it, in a few round trips")
		w.Pass(5 * time.Minute)
		assert.Equal(t, waiting, w.Count(stream.Backlog), "once")
		assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.Deliveries))
		assert.NotContains(t, w.LogText(), "trying again")
	})
}
