package scenario

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
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

const adobeClient = "CBJCHBCAABAAo8KHOTyMtGfrZiG5Pe1b"

// adobeReceiver is what a customer of Adobe Acrobat Sign runs: its own CA has issued the sender's certificate, and it
// answers the verification of intent and every notification with the client id. How it answers can be changed.
type adobeReceiver struct {
	*kit.Receiver

	mu       sync.Mutex
	intent   func(w http.ResponseWriter, id string)
	notified func(w http.ResponseWriter, id string)
	intents  []http.Header
}

func byHeader(w http.ResponseWriter, id string) {
	w.Header().Set("X-AdobeSign-ClientId", id)
	w.WriteHeader(http.StatusOK)
}

func byBody(w http.ResponseWriter, id string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"seen":[1,{"xAdobeSignClientId":"no"}],"xAdobeSignClientId":"` + id + `"}`))
}

func without(status int) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) { w.WriteHeader(status) }
}

func somebodyElses(w http.ResponseWriter, id string) { byHeader(w, id+"x") }

// adobe makes the world of one such customer: the certificate that we present comes from the receiver's own CA, and TLS
// is 1.2, the only version that Adobe speaks.
func adobe(w *kit.World, host string) *adobeReceiver {
	w.T.Helper()
	theirs, err := authority.New("The customer's own authority", authority.WithLeafLifetime(30*24*time.Hour))
	require.NoError(w.T, err)
	w.Identity = mtls.Static(w.MintUnder(theirs, authority.Leaf{URIs: kit.URIs(kit.ClientName), Client: true}))
	r := &adobeReceiver{intent: byHeader, notified: byHeader}
	r.Receiver = w.Receiver(host, kit.Whole{Handler: http.HandlerFunc(r.serve)}, func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AddCert(theirs.Certificate())
	})
	return r
}

func (r *adobeReceiver) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := req.Header.Get("X-AdobeSign-ClientId")
	switch {
	case req.Method == http.MethodGet:
		r.intents = append(r.intents, req.Header.Clone())
		r.intent(w, id)
	case req.Method == http.MethodPost && id == adobeClient:
		r.notified(w, id)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (r *adobeReceiver) change(intent, notified func(http.ResponseWriter, string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intent, r.notified = intent, notified
}

func (r *adobeReceiver) asked() []http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]http.Header(nil), r.intents...)
}

// notifications are the messages among the hits; the others are verifications of intent.
func (r *adobeReceiver) notifications() []kit.Hit {
	var all []kit.Hit
	for _, hit := range r.Hits() {
		if len(hit.Body) > 0 {
			all = append(all, hit)
		}
	}
	return all
}

func adobeSign() func(map[string]any) {
	return activation(map[string]any{"kind": "adobe-sign", "client_id": adobeClient})
}

func TestAnAdobeSignLikeSender(t *testing.T) {
	for name, echo := range map[string]func(http.ResponseWriter, string){"echo in the header": byHeader, "echo in the body": byBody} {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				r := adobe(w, "hooks.customer.example")
				r.change(echo, echo)
				w.Apply(r.Document("acme", "orders", adobeSign()))
				w.Start()
				publish(w, 0, 3)
				w.Pass(10 * time.Second)
				asked := r.asked()
				require.Len(t, asked, 1, "one verification of intent")
				assert.Equal(t, []string{adobeClient}, asked[0].Values("X-AdobeSign-ClientId"))
				hits := r.notifications()
				require.Len(t, hits, 3)
				for _, hit := range hits {
					assert.Equal(t, []string{adobeClient}, hit.Header.Values("X-AdobeSign-ClientId"), "every delivery names the client")
					assert.Equal(t, kit.ClientName, hit.Client, "under the identity that the customer's CA has issued")
				}
				for _, got := range w.Receipts() {
					assert.Equal(t, delivery.Delivered, got.Outcome)
					assert.Equal(t, "TLS 1.2", got.Proof.Version)
				}
				assert.Contains(t, orders(t, w).Status.Activation.Said, adobeClient)
			})
		})
	}
}

func TestAdobeSignsIntentIsNotVerified(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, string)
		reason string
	}{
		"no echo":              {without(http.StatusOK), "without an echo of our client id"},
		"somebody else's echo": {somebodyElses, "echoed client id"},
		"an echo beside a 500": {func(w http.ResponseWriter, id string) {
			w.Header().Set("X-AdobeSign-ClientId", id)
			w.WriteHeader(http.StatusInternalServerError)
		}, "HTTP 500 to GET"},
		"an echo beside a 404": {func(w http.ResponseWriter, id string) {
			w.Header().Set("X-AdobeSign-ClientId", id)
			w.WriteHeader(http.StatusNotFound)
		}, "HTTP 404 to GET"},
		"an echo in plain text": {func(w http.ResponseWriter, id string) { _, _ = w.Write([]byte(id)) }, "without an echo"},
		"two members, two ids": {func(w http.ResponseWriter, id string) {
			_, _ = w.Write([]byte(`{"xAdobeSignClientId":"` + id + `","xAdobeSignClientId":"x"}`))
		}, "without an echo"},
		"an echo behind a megabyte": {func(w http.ResponseWriter, id string) {
			_, _ = w.Write([]byte(`{"pad":"` + string(make([]byte, 1<<20)) + `","xAdobeSignClientId":"` + id + `"}`))
		}, "without an echo"},
	} {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				r := adobe(w, "hooks.customer.example")
				r.change(c.answer, byHeader)
				w.Apply(r.Document("acme", "orders", adobeSign(), limits(1, "10s")))
				w.Start()
				w.Pass(time.Second)
				publish(w, 0, 3)
				w.Pass(time.Minute)
				assert.Empty(t, r.notifications(), "no byte of an event")
				held := orders(t, w)
				require.NotNil(t, held.Status.Held)
				assert.Equal(t, "not_activated", held.Status.Held.Outcome)
				assert.Contains(t, held.Status.Held.Detail, c.reason)
				assert.Equal(t, 3, w.Count(stream.Backlog))

				r.change(byHeader, byHeader)
				w.Pass(10 * time.Minute)
				assert.Equal(t, upTo(3), numbers(t, r.notifications()))
				assert.Zero(t, w.Count(stream.Backlog))
			})
		})
	}
}

// TestAdobeSignsEchoStops has a receiver that agrees, and later answers 2xx without the echo: that is no delivery.
func TestAdobeSignsEchoStops(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := adobe(w, "hooks.customer.example")
		w.Apply(r.Document("acme", "orders", adobeSign(), schedule("5s", "10s", "20s")))
		w.Start()
		publish(w, 0, 1)
		w.Pass(5 * time.Second)
		require.Len(t, r.notifications(), 1)

		r.change(byHeader, without(http.StatusNoContent))
		publish(w, 1, 1)
		w.Pass(time.Second)
		r.change(byHeader, somebodyElses)
		w.Pass(6 * time.Second)
		r.change(byHeader, byBody)
		w.Pass(30 * time.Second)
		assert.Equal(t, []delivery.Outcome{delivery.Delivered, delivery.NotAcknowledged, delivery.NotAcknowledged, delivery.Delivered}, w.Outcomes())
		receipts := w.Receipts()
		assert.Equal(t, delivery.Said, receipts[1].Origin)
		assert.Equal(t, http.StatusNoContent, receipts[1].Status)
		assert.Contains(t, receipts[1].Detail, "without an echo of our client id")
		assert.Contains(t, receipts[2].Detail, `echoed client id "`+adobeClient+`x"`)
		assert.Contains(t, receipts[2].Advice, "X-AdobeSign-ClientId")

		r.change(byHeader, without(http.StatusOK))
		publish(w, 2, 1)
		w.Pass(time.Minute)
		assert.Equal(t, 1, w.Count(stream.DeadLetters), "after the schedule, as Adobe does after 72 hours; but it can be replayed")
		assert.Len(t, r.asked(), 1, "answers without an echo are no reason to ask for the intent again")
	})
}

// TestAdobeSignsReceiverRefusesTheIdentity has the customer's gateway refuse a certificate that its CA has not issued.
func TestAdobeSignsReceiverRefusesTheIdentity(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := adobe(w, "hooks.customer.example")
		w.Identity = mtls.Static(w.Mint(authority.Leaf{URIs: kit.URIs(kit.ClientName), Client: true})) // of our own CA
		w.Apply(r.Document("acme", "orders", adobeSign()))
		w.Start()
		publish(w, 0, 2)
		w.Pass(time.Minute)
		assert.Empty(t, r.Hits(), "neither a question nor a message came through")
		held := orders(t, w)
		require.NotNil(t, held.Status.Held)
		assert.Equal(t, "client_certificate_refused", held.Status.Held.Outcome, "that says more than that it has not agreed")
		assert.Equal(t, 2, w.Count(stream.Backlog))
	})
}
