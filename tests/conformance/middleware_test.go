package conformance

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	assert.NoError(t, err)
	return data
}

// guarded is a handler behind pkg/receiver, and what it has seen.
type guarded struct {
	http.Handler

	seen   []receiver.Delivery
	bodies [][]byte
}

// guard builds the middleware as the README of a receiver would. Its clock is the bubble's.
func guard(t *testing.T, client string, keys []signature.Key, answer http.Handler) *guarded {
	t.Helper()
	verifiers := make([]signature.Verifier, 0, len(keys))
	for _, key := range keys {
		verifier, err := key.Verifier()
		require.NoError(t, err)
		verifiers = append(verifiers, verifier)
	}
	protect, err := receiver.New(receiver.Options{Clients: []string{client}, Keys: verifiers})
	require.NoError(t, err)
	g := &guarded{}
	g.Handler = protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, ok := receiver.FromContext(r.Context())
		assert.True(t, ok, "the context tells what was verified")
		g.seen, g.bodies = append(g.seen, d), append(g.bodies, readAll(t, r.Body))
		answer.ServeHTTP(w, r)
	}))
	return g
}

// TestTheMiddlewareAcceptsLiveDeliveries has one scheme's key at a time in the receiver, and one attempt that fails.
func TestTheMiddlewareAcceptsLiveDeliveries(t *testing.T) {
	for _, scheme := range signature.Standard() {
		t.Run(scheme, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				key := ofScheme(t, w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"}), scheme)
				g := guard(t, kit.ClientName, []signature.Key{key}, kit.Answer(503, 204))
				r := w.Receiver("hooks.example.com", g)
				w.Apply(r.Document("acme", "orders"))
				w.Start()
				w.Pass(time.Second)
				w.Publish("acme", "com.acme.order.created", `{"order":1}`)
				w.Pass(time.Minute)

				hits, receipts := r.Hits(), w.Receipts()
				require.Equal(t, []delivery.Outcome{delivery.Unavailable, delivery.Delivered}, w.Outcomes(), "the handler's own answers, none of the middleware's")
				require.Len(t, g.seen, 2)
				for i, d := range g.seen {
					assert.Equal(t, string(receipts[i].Delivery), d.ID)
					assert.Equal(t, hits[i].Header.Get("webhook-id"), d.ID)
					assert.Equal(t, kit.ClientName, d.ClientSAN)
					assert.Equal(t, scheme, d.Scheme)
					assert.Equal(t, key.ID, d.KeyID)
					assert.Contains(t, receipts[i].Keys, scheme+"="+d.KeyID, "the receipt names the key that the receiver matched")
					assert.Equal(t, hits[i].Header.Get("webhook-timestamp"), strconv.FormatInt(d.Time.Unix(), 10))
					assert.Equal(t, hits[i].Body, d.Body)
					assert.Equal(t, d.Body, g.bodies[i], "the handler reads what was signed")
				}
			})
		})
	}
}

func ofScheme(t *testing.T, keys []signature.Key, scheme string) signature.Key {
	t.Helper()
	for _, key := range keys {
		if key.Scheme == scheme {
			return key
		}
	}
	require.Fail(t, "no key of "+scheme)
	return signature.Key{}
}

// TestTheMiddlewareRefuses what is proven, but not to this receiver. Its answers stop the delivery and are told.
func TestTheMiddlewareRefuses(t *testing.T) {
	for _, c := range []struct {
		name, client, keysOf string
		status               int
		outcome              delivery.Outcome
		dead, held           int
	}{
		{"another client", "spiffe://handfast.test/somebody-else", "orders", receiver.StatusClient, delivery.ClientCertificateRefused, 0, 1},
		{"another endpoint's keys", kit.ClientName, "another", http.StatusUnauthorized, delivery.Rejected, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				g := guard(t, c.client, w.Keys(endpoint.Key{Tenant: "acme", Name: c.keysOf}), kit.Answer(200))
				r := w.Receiver("hooks.example.com", kit.Whole{Handler: g})
				w.Apply(r.Document("acme", "orders"))
				w.Start()
				w.Pass(time.Second)
				w.Publish("acme", "com.acme.order.created", `{"order":1}`)
				w.Pass(10 * time.Minute)
				assert.Empty(t, g.seen, "the handler never ran")
				require.Equal(t, []delivery.Outcome{c.outcome}, w.Outcomes(), "one attempt has shown it")
				assert.Equal(t, c.status, w.Receipts()[0].Status)
				assert.Len(t, w.DeadLetters(), c.dead)
				assert.Equal(t, c.held, w.Count(stream.Backlog), "certificates are no reason to give up")
			})
		})
	}
}
