package scenario

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/PagerDuty/go-pagerduty/webhookv3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

const pagerDutyName = "webhooks.pagerduty.com"

// pagerDutyListener is a receiver of PagerDuty as it documents one: TLS 1.2, the whole name of the certificate's subject, and
// its own library for the signature, once for each secret that the receiver knows.
func pagerDutyListener(secrets []string, r *http.Request, body []byte) error {
	if r.TLS.Version != tls.VersionTLS12 || r.TLS.PeerCertificates[0].Subject.CommonName != pagerDutyName {
		return fmt.Errorf("%w: %s from %s", errIncomplete, tls.VersionName(r.TLS.Version), r.TLS.PeerCertificates[0].Subject)
	}
	lines := r.Header.Values("X-PagerDuty-Signature")
	if len(lines) != 1 || strings.ContainsAny(lines[0], " \t") {
		return fmt.Errorf("%w: X-PagerDuty-Signature: %q", errIncomplete, lines)
	}
	if ids := r.Header.Values("X-Webhook-Id"); len(ids) != 1 || ids[0] == "" {
		return fmt.Errorf("%w: X-Webhook-Id: %q", errIncomplete, ids)
	}
	refused := errNotTheirs
	for _, secret := range secrets {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		if refused = webhookv3.VerifySignature(again, secret); refused == nil {
			return nil
		}
	}
	return refused
}

// TestPagerDutyMoves is the same for PagerDuty: one header with a list, an id that stays over retries, and a certificate that
// receivers know by its common name. Its secret is rotated with an overlap under traffic.
func TestPagerDutyMoves(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		issuing, err := w.ClientCA.Intermediate("Handfast test authority, issuing")
		require.NoError(t, err)
		w.Identity = mtls.Static(w.MintUnder(issuing, authority.Leaf{CommonName: pagerDutyName, DNSNames: []string{pagerDutyName}, URIs: kit.URIs(kit.ClientName), Client: true}))
		c := newCustomer("incidents", pagerDutyListener, 7)
		_, err = l.ImportKey(t.Context(), c.key, signature.PagerDuty, pagerDutySecret(1), true, w.Vault)
		require.NoError(t, err)
		c.Receiver = w.Receiver("incidents.example.com", c, func(config *tls.Config) { config.MaxVersion = tls.VersionTLS12 })
		w.Apply(c.Document("acme", "incidents", func(document map[string]any) {
			document["signature"] = map[string]any{"schemes": []string{signature.PagerDuty}}
		}))
		first := w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		require.Equal(t, 1, c.told(l), "no other key than the customer's is made")
		traffic := w.Traffic(50*time.Millisecond, "acme", "incident.triggered", "incident.resolved")
		w.Pass(1025 * time.Millisecond) // between two events
		first.Stop()
		w.StartSigner(w.Broker.Option())
		turned(l, c, signature.PagerDuty, pagerDutySecret)
		sent := traffic.Stop()
		w.Pass(10 * time.Second) // the retries of the last ones

		assert.Greater(t, sent, 500)
		c.content(w, traffic, sent)
		bodies, signatures := map[string]string{}, map[int]int{}
		for _, hit := range c.Hits() {
			id := hit.Header.Get("X-Webhook-Id")
			if known, ok := bodies[id]; ok {
				assert.Equal(t, known, string(hit.Body), "one id is one message")
			}
			bodies[id] = string(hit.Body)
			signatures[strings.Count(hit.Header.Get("X-PagerDuty-Signature"), "v1=")]++
		}
		for _, r := range w.Receipts() {
			assert.Contains(t, bodies, string(r.Delivery), "the receipt names the message by the id that its receiver has seen")
		}
		assert.Len(t, bodies, sent, "an id stays over its retries and is no other message's")
		for n := 1; n <= 6; n++ {
			assert.Greater(t, signatures[n], 10, "messages with %d signatures", n)
		}
		assert.Len(t, signatures, 6)
	})
}

// pagerDutySecret is a secret as PagerDuty shows one: 64 characters, whose text is the key.
func pagerDutySecret(n int) string {
	return strings.TrimRight(imported(n), "=") + imported(n + 1000)[:21]
}
