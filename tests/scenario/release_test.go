package scenario

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// catalogueOf is the bucket of endpoints as another dispatcher would write to it.
func catalogueOf(t *testing.T, w *kit.World) *stream.Catalogue {
	t.Helper()
	c, err := w.Topology.OpenCatalogue(t.Context(), w.JS, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return c
}

// away makes every connection of the dispatchers take its time.
func away(w *kit.World, by time.Duration) {
	dial := w.Network.Dial
	w.Dispatcher.Connections.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		<-time.After(by) // in virtual time
		return dial(ctx, network, address)
	}
}

// arrival is an identity that the receivers let in.
func arrival(w *kit.World) *mtls.Identity {
	return w.Mint(authority.Leaf{URIs: kit.URIs("spiffe://handfast.test/first"), Client: true})
}

// TestAReleaseThatCannotBeStoredIsTriedAgain lets a held endpoint heal while its bucket takes no writes.
func TestAReleaseThatCannotBeStoredIsTriedAgain(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		source := &switchable{}
		w.Identity = source
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(time.Minute)
		require.Equal(t, 1, w.Count(stream.Backlog), "without an identity it is held")

		bucket, err := w.JS.Stream(t.Context(), "KV_"+stream.EndpointBucket)
		require.NoError(t, err)
		config := bucket.CachedInfo().Config
		closed := config
		closed.MaxMsgSize = 1
		_, err = w.JS.UpdateStream(t.Context(), closed)
		require.NoError(t, err)
		source.set(arrival(w))
		w.Pass(time.Minute)
		require.NotZero(t, r.Probes(), "a handshake was accepted")
		require.Contains(t, w.LogText(), "endpoint could not be released")
		_, err = w.JS.UpdateStream(t.Context(), config)
		require.NoError(t, err)
		w.Publish("acme", "com.acme.order.created", `{"order":2}`)
		w.Pass(5 * time.Minute)
		assert.Len(t, r.Hits(), 2, "it was tried again as soon as the bucket took it")
		assert.Zero(t, w.Count(stream.Backlog))
	})
}

// TestAllHeldEndpointsAreTriedAtOnce has more of them than there are hands for probes, and a reason to try them all long
// before their time: whoever finds no hand free must not forget the reason.
func TestAllHeldEndpointsAreTriedAtOnce(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		const n = 24
		w := kit.New(t)
		source := &switchable{}
		w.Identity = source
		receivers := make([]*kit.Receiver, n)
		for i := range receivers {
			receivers[i] = w.Receiver(fmt.Sprintf("hooks%d.example.com", i), slowly(100*time.Millisecond))
			w.Apply(receivers[i].Document("acme", fmt.Sprintf("orders-%d", i)))
		}
		away(w, 200*time.Millisecond)
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(3*time.Hour + time.Minute) // their next probes are an hour apart by now
		require.Equal(t, n, w.Count(stream.Backlog))
		source.set(arrival(w))
		w.Pass(5 * time.Minute)
		arrived := 0
		for _, r := range receivers {
			arrived += len(r.Hits())
		}
		assert.Equal(t, n, arrived, "all of them within minutes")
	})
}

// TestAHoldBeyondAnyWaitIsTriedAnyway: its time was set by a clock that was wrong.
func TestAHoldBeyondAnyWaitIsTriedAnyway(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		key := endpoint.Key{Tenant: "acme", Name: "orders"}
		_, err := catalogueOf(t, w).Hold(t.Context(), key, endpoint.Held{Since: time.Now(), Next: time.Now().Add(300 * day)})
		require.NoError(t, err)
		w.Start()
		w.Pass(2 * time.Hour)
		assert.Equal(t, 1, r.Probes())
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(time.Second)
		assert.Len(t, r.Hits(), 1, "it is released")
	})
}

// TestAProbeEnablesNothing: a 410 is stored while another dispatcher's probe of the same endpoint is on its way.
func TestAProbeEnablesNothing(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		key := endpoint.Key{Tenant: "acme", Name: "orders"}
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		away(w, 3*time.Second)
		c := catalogueOf(t, w)
		_, revision, err := c.Get(t.Context(), key)
		require.NoError(t, err)
		_, err = c.Hold(t.Context(), key, endpoint.Held{Since: time.Now(), Next: time.Now().Add(time.Second)})
		require.NoError(t, err)
		w.Start()
		w.Pass(2 * time.Second) // the probe is on its way
		require.NoError(t, c.Disable(t.Context(), key, endpoint.Disabled{At: time.Now(), Reason: "HTTP 410", Revision: revision}))
		w.Pass(10 * time.Second)
		now, err := c.Lookup(t.Context(), key)
		require.NoError(t, err)
		assert.True(t, now.Disabled(), "what its receiver has ended stays ended")
		assert.Nil(t, now.Status.Held, "and it is no longer held")
	})
}
