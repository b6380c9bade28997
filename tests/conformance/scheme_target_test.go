package conformance

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/tests/kit"
)

// TestASchemeMayExtendTheTarget delivers with Twilio's scheme, which puts the digest of the body into the query and signs
// the URL, and with a template, each judged by its published formula.
func TestASchemeMayExtendTheTarget(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 200))
		w.Apply(r.Document("acme", "orders", func(document map[string]any) {
			document["signature"] = map[string]any{
				"schemes":    []string{signature.Twilio, signature.TemplateScheme, signature.V1},
				"algorithms": []string{signature.AlgorithmSHA1, signature.AlgorithmSHA256},
				"template": map[string]any{
					"header": "X-Acme-Signature", "algorithm": "hmac-sha256", "encoding": "hex", "content": "{id}.{timestamp}.{body}", "prefix": "sha256=",
				},
			}
		}))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"customer":"Zoë","total":1.10}`)
		w.Pass(6 * time.Second)
		require.Equal(t, []delivery.Outcome{delivery.Unavailable, delivery.Delivered}, w.Outcomes())
		keys := w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"})
		for _, hit := range r.Hits() {
			digest := sha256.Sum256(hit.Body)
			assert.Equal(t, "/hooks?source=handfast&bodySHA256="+hex.EncodeToString(digest[:]), hit.Target)
			twilio := hmac.New(sha1.New, []byte(ofScheme(t, keys, signature.Twilio).Reveal()))
			twilio.Write([]byte("https://hooks.example.com" + hit.Target))
			assert.Equal(t, base64.StdEncoding.EncodeToString(twilio.Sum(nil)), hit.Header.Get("X-Twilio-Signature"))
			own := hmac.New(sha256.New, []byte(ofScheme(t, keys, signature.TemplateScheme).Reveal()))
			own.Write([]byte(hit.Header.Get("webhook-id") + "." + hit.Header.Get("webhook-timestamp") + "." + string(hit.Body)))
			assert.Equal(t, "sha256="+hex.EncodeToString(own.Sum(nil)), hit.Header.Get("X-Acme-Signature"))
		}
	})
}
