package scenario

import (
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestCertificateTroubleIsNeverDropped keeps a receiver closed to our certificate far beyond its schedule, and beyond the
// seven days that events are kept, and mends it on day 12.
func TestCertificateTroubleIsNeverDropped(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.TendInterval = time.Minute
		stranger, err := authority.New("Somebody else", authority.WithLeafLifetime(30*24*time.Hour))
		require.NoError(t, err)
		var mended atomic.Bool
		good := w.ServerTLS("hooks.example.com")
		bad := good.Clone()
		bad.ClientCAs = pool(stranger)
		r := w.Receiver("hooks.example.com", kit.Answer(200), func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				if mended.Load() {
					return good, nil
				}
				return bad, nil
			}
		})
		w.Apply(r.Document("acme", "orders", schedule("1h", "2h")))
		w.Start()
		w.Pass(time.Second)
		for i := range 2 {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"order":%d}`, i))
		}
		w.Pass(time.Hour)
		dials := w.Network.Dials(r.Address)
		assert.LessOrEqual(t, dials, 13, "two attempts, and handshakes at doubling waits: no storm")
		w.Pass(5 * time.Hour)
		assert.InDelta(t, 5, w.Network.Dials(r.Address)-dials, 2, "an hour apart from then on")
		for range 12 { // on for a while each day: a virtual hour in which all is on costs a tenth of a second
			w.Sleep(25*time.Hour - 10*time.Minute)
			w.Start()
			w.Pass(10 * time.Minute)
		}
		assert.Zero(t, w.Count(stream.Events), "the events have aged out; the payloads travel with the retries")
		assert.Empty(t, r.Hits(), "nothing has arrived")
		assert.Equal(t, 2, w.Count(stream.Backlog), "all deliveries wait")
		assert.Zero(t, w.Count(stream.Retries))
		assert.Zero(t, w.Count(stream.DeadLetters), "none was given up, although the schedule ended on the first day")
		for _, outcome := range w.Outcomes() {
			require.Equal(t, delivery.ClientCertificateRefused, outcome)
		}
		mended.Store(true)
		w.Pass(2 * time.Hour)
		require.Len(t, r.Hits(), 2, "when it heals, they go out")
		assert.Contains(t, string(r.Hits()[0].Body), `"order":`)
		assert.Equal(t, 1, r.Probes(), "after one handshake that was accepted")
		assert.Zero(t, w.Count(stream.Backlog))
		assert.Zero(t, w.Count(stream.DeadLetters))
	})
}

// TestWhatWasHeldGoesOutByAge holds an endpoint while deliveries are under way and more are coming, through a restart of
// everything.
func TestWhatWasHeldGoesOutByAge(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		source := &switchable{}
		w.Identity = source
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		one := func(d map[string]any) { d["limits"] = map[string]any{"concurrency": 1} }
		w.Apply(r.Document("acme", "orders", one))
		w.Start()
		w.Pass(time.Second)
		const first, more = 40, 160
		for i := range first {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"order":%d}`, i))
		}
		w.Pass(time.Minute)
		assert.Len(t, w.Receipts(), 1, "one attempt has shown it for all")
		w.Stop()
		w.StopBroker()
		w.StartBroker()
		w.Start()
		for i := range more {
			w.Publish("acme", "com.acme.order.created", fmt.Sprintf(`{"order":%d}`, first+i))
		}
		w.Pass(3 * time.Hour)
		assert.Empty(t, r.Hits())
		assert.Equal(t, first+more, w.Count(stream.Backlog))
		source.set(w.Mint(authority.Leaf{URIs: kit.URIs("spiffe://handfast.test/first"), Client: true}))
		w.Pass(20 * time.Second)
		hits := r.Hits()
		require.Len(t, hits, first+more, "an identity that has come is a reason to try long before the hour is over")
		for i, hit := range hits {
			require.Contains(t, string(hit.Body), fmt.Sprintf(`{"order":%d}`, i), "the oldest first")
		}
		assert.Zero(t, w.Count(stream.Backlog))
		assert.Zero(t, w.Count(stream.Retries))
	})
}

// switchable is an identity source whose identity can be taken away and replaced.
type switchable struct {
	mu       sync.Mutex
	identity *mtls.Identity
}

func (s *switchable) Identity() (*mtls.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		return nil, fmt.Errorf("%w: it was taken away", mtls.ErrNoIdentity)
	}
	return s.identity, nil
}

func (s *switchable) set(i *mtls.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.identity = i
}

// TestWithoutAnIdentityDeliveriesWait starts without a client certificate and gives it later; then changes it.
func TestWithoutAnIdentityDeliveriesWait(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		source := &switchable{}
		w.Identity = source
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders", schedule("1m")))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(10 * time.Minute)
		assert.Empty(t, r.Hits())
		assert.Zero(t, w.Network.Dials(r.Address), "without an identity nothing is even dialled")
		assert.Equal(t, delivery.NoIdentity, w.Outcomes()[0])
		assert.Equal(t, 1, w.Count(stream.Backlog))

		source.set(w.Mint(authority.Leaf{URIs: kit.URIs("spiffe://handfast.test/first"), Client: true}))
		w.Pass(2 * time.Hour)
		require.Len(t, r.Hits(), 1)
		assert.Equal(t, "spiffe://handfast.test/first", r.Hits()[0].Client)

		source.set(w.Mint(authority.Leaf{URIs: kit.URIs("spiffe://handfast.test/second"), Client: true}))
		w.Publish("acme", "com.acme.order.created", `{"order":2}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 2)
		assert.Equal(t, "spiffe://handfast.test/second", r.Hits()[1].Client, "a new identity is used at once, not when old connections end")
	})
}
