package scenario

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestAStormOfRefusals has two hundred receivers refuse us at the same time, each with ten deliveries, beside one that
// works.
func TestAStormOfRefusals(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const refusing, each = 200, 10
		w := kit.New(t)
		door := kit.NewDoor(kit.ByAlert)
		fast := w.Receiver("fast.example.com", slowly(5*time.Millisecond))
		w.Apply(fast.Document("acme", "fast", types("fast")))
		receivers := make([]*kit.Receiver, refusing)
		for n := range receivers {
			option := []func(d map[string]any){types("storm"), limits(8, "10s")}
			receivers[n] = w.Guarded(fmt.Sprintf("r%d.example.com", n), door, kit.Answer(200))
			w.Apply(receivers[n].Document("acme", fmt.Sprintf("storm-%d", n), option...))
		}
		w.Start()
		w.StartDispatcher(w.Broker.Option())
		w.Pass(time.Second)
		traffic := w.Traffic(20*time.Millisecond, "acme", "fast")
		for n := range each {
			w.Publish("acme", "storm", fmt.Sprintf(`{"n":%d}`, n))
			w.Pass(200 * time.Millisecond)
		}
		w.Pass(10 * time.Second)
		traffic.Stop()
		w.Pass(time.Hour)
		most := 0
		for n, r := range receivers {
			dials := w.Network.Dials(r.Address)
			most = max(most, dials)
			require.Less(t, dials, 20, "receiver %d: a handshake for each of the first attempts at most, then at doubling waits", n)
			require.Empty(t, r.Hits())
		}
		t.Logf("%d dials in an hour at most, with %d deliveries waiting", most, w.Count(stream.Backlog))
		assert.Equal(t, refusing*each, w.Count(stream.Backlog))
		assert.Zero(t, traffic.Arrived(fast))
		slowest := time.Duration(0)
		for _, got := range w.Receipts() {
			if got.Endpoint == "fast" {
				require.Equal(t, delivery.Delivered, got.Outcome)
				slowest = max(slowest, got.At.Add(got.Duration).Sub(got.First))
			}
		}
		assert.Less(t, slowest, 100*time.Millisecond, "nobody else is slowed")

		door.Accept(kit.ClientName)
		w.Pass(delivery.HoldInterval + time.Minute)
		for n, r := range receivers {
			require.Len(t, r.Hits(), each, "receiver %d", n)
		}
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.DeadLetters)+w.Count(stream.Retries))
	})
}

// TestTwelveDaysGoOutByAge holds one endpoint for so long that the first events age out while the last are new, with
// more of them than are looked at together.
func TestTwelveDaysGoOutByAge(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.TendInterval, w.Dispatcher.TendInterval = time.Minute, time.Minute
		door := kit.NewDoor(kit.ByAlert)
		r := w.Guarded("hooks.example.com", door, kit.Answer(200))
		w.Apply(r.Document("acme", "orders", limits(1, "10s")))
		sent := 0
		for d := range 13 { // a quarter of an hour each day: a virtual hour in which all is on costs a tenth of a second
			w.Start()
			w.Pass(10 * time.Second)
			for range 40 {
				w.Publish("acme", "com.acme.order", fmt.Sprintf(`{"n":%d}`, sent))
				sent++
			}
			w.Pass(15 * time.Minute)
			require.Equal(t, sent, w.Count(stream.Backlog), "day %d", d)
			// Off for a little more than a day, so that nothing reaches the end of its age while the broker is on: the
			// broker's own clock is not the bubble's there, and it would throw everything away.
			w.Sleep(day - 14*time.Minute)
		}
		w.Start()
		w.Pass(time.Minute) // while the dispatchers find their order, two pulls may stand side by side
		door.Accept(kit.ClientName)
		w.Pass(2 * time.Hour)
		var came []int
		for _, hit := range r.Hits() {
			came = append(came, number(t, hit))
		}
		assert.Len(t, came, sent)
		assert.True(t, slices.IsSorted(came), "the oldest first: %v", came)
		assert.Zero(t, w.Count(stream.DeadLetters))
	})
}

// number is the n of a message's data.
func number(t *testing.T, hit kit.Hit) int {
	t.Helper()
	var e struct {
		Data struct {
			N int `json:"n"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal(hit.Body, &e))
	return e.Data.N
}

// TestNothingLeavesUnderAWrongIdentity reads along at the receiver while the identity changes, on ever new connections to
// a receiver that offers session tickets, and on HTTP/2: no byte of a message under an identity that it does not let in, before, at the moment
// of, and after the cut-over.
func TestNothingLeavesUnderAWrongIdentity(t *testing.T) {
	for name, broken := range map[string]bool{"answered with 403": false, "cut after the handshake": true} {
		for _, shape := range []struct {
			name    string
			version uint16
			alpn    []string
		}{{"TLS 1.2 with tickets", tls.VersionTLS12, nil}, {"TLS 1.3 with tickets", tls.VersionTLS13, nil}, {"HTTP/2", tls.VersionTLS13, []string{"h2"}}} {
			t.Run(name+", "+shape.name, func(t *testing.T) {
				kit.Bubble(t, func(t *testing.T) {
					const host = "hooks.example.com"
					s := newStreet(t, 0, nil)
					b := newBooth(broken, oldName)
					config := s.ServerTLS(host)
					config.MinVersion, config.MaxVersion, config.NextProtos = shape.version, shape.version, shape.alpn
					listener := s.Network.Listen(host + ":443")
					go b.serve(listener, config)
					defer listener.Close()
					s.Apply(s.Document(host, "acme", "orders"))
					s.Start()
					s.StartDispatcher(s.Broker.Option())
					s.Pass(time.Second)
					published := 0
					send := func(n int) {
						for range n {
							s.Publish("acme", "com.acme.order", `"`+marker+`"`)
							published++
							s.Pass(100 * time.Millisecond)
						}
					}
					send(20)
					s.Rotate("default", "default-2")
					send(50)
					assert.Equal(t, 1, s.Stages("default")[rotation.Refused]+s.Stages("default")[rotation.Unreachable])
					assert.True(t, b.spoken(oldName, marker))
					assert.False(t, b.spoken(newName, marker), "nothing under the identity that is refused")
					assert.Less(t, b.broke(newName), 8<<10, "nor anything that TLS would hide")
					assert.Zero(t, b.resumptions(oldName)+b.resumptions(newName), "a session keeps its identity, so no ticket is ever used")
					b.accept(oldName, newName)
					s.Pass(2 * time.Minute)
					send(5) // whatever the last connection was
					b.accept(newName)
					b.forget()
					send(20)
					assert.True(t, b.spoken(newName, marker))
					assert.False(t, b.spoken(oldName, marker), "nothing under the identity that has retired")
					assert.Zero(t, b.resumptions(oldName)+b.resumptions(newName))
					s.Pass(time.Minute)
					s.noFailures()
					assert.Len(t, s.Receipts(), published)
				})
			})
		}
	}
}
