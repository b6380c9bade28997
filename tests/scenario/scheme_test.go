package scenario

import (
	"crypto/ed25519"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// reader is a receiver that knows one version of Standard Webhooks at a time and must not mind others beside it.
type reader struct {
	*kit.Receiver

	key endpoint.Key

	mu      sync.Mutex
	judge   func(http.Header, []byte) error
	refused []string
}

func newReader(w *kit.World, name string) *reader {
	r := &reader{key: endpoint.Key{Tenant: "acme", Name: name}}
	r.Receiver = w.Receiver(name+".example.com", r)
	return r
}

func (r *reader) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.judge(request.Header, body); err != nil {
		r.refused = append(r.refused, time.Now().String()+" "+err.Error()+": "+request.Header.Get(signature.HeaderSignature))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// learn lets the receiver verify by another version from now on, with the key that the endpoint has for it.
func (r *reader) learn(w *kit.World, version string) {
	w.T.Helper()
	for _, key := range w.Keys(r.key) {
		if key.Scheme != version {
			continue
		}
		judge := byKeyPair(key.Public())
		if version == signature.V1 {
			official, err := standardwebhooks.NewWebhook(key.Reveal())
			require.NoError(w.T, err)
			judge = func(header http.Header, body []byte) error { return official.Verify(body, header) }
		}
		r.mu.Lock()
		r.judge = judge
		r.mu.Unlock()
		return
	}
	w.T.Fatalf("%s has no key of scheme %s", r.key, version)
}

// byKeyPair is v1a with the standard library alone.
func byKeyPair(public string) func(http.Header, []byte) error {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	return func(header http.Header, body []byte) error {
		content := header.Get("webhook-id") + "." + header.Get("webhook-timestamp") + "." + string(body)
		for one := range strings.FieldsSeq(header.Get("webhook-signature")) {
			version, text, _ := strings.Cut(one, ",")
			made, err := base64.StdEncoding.DecodeString(text)
			if version == "v1a" && err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, []byte(content), made) {
				return nil
			}
		}
		return signature.ErrNoMatch
	}
}

// signedBy applies the reader's endpoint with these schemes as a person does.
func (r *reader) signedBy(w *kit.World, how operator.Application, schemes ...string) operator.Change {
	w.T.Helper()
	parsed, err := endpoint.Parse(r.Document(r.key.Tenant, r.key.Name, func(document map[string]any) {
		document["signature"] = map[string]any{"schemes": schemes}
	}))
	require.NoError(w.T, err)
	changes, err := operator.New(w.JS, w.Topology).Apply(w.T.Context(), []*endpoint.Endpoint{parsed}, how)
	require.NoError(w.T, err)
	return changes[0]
}

// TestASchemeIsReplacedUnderTraffic takes two receivers from v1 to v1a. Each changes at its own time: one as soon as both
// sign, the other in the overlap in which v1 retires. Both ignore what they do not know, and neither refuses anything. One
// of the two signers is replaced in the overlap.
func TestASchemeIsReplacedUnderTraffic(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		early, late := newReader(w, "early"), newReader(w, "late")
		readers := []*reader{early, late}
		first := w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		for _, r := range readers {
			r.signedBy(w, operator.Application{}, signature.V1)
		}
		w.Pass(2 * time.Second)
		for _, r := range readers {
			r.learn(w, signature.V1)
		}
		traffic := w.Traffic(100*time.Millisecond, "acme", "com.acme.order.created")
		w.Pass(10*time.Second + 25*time.Millisecond)
		for _, r := range readers {
			r.signedBy(w, operator.Application{}, signature.V1, signature.V1a)
		}
		added := time.Now()
		w.Pass(10 * time.Second)
		early.learn(w, signature.V1a)
		w.Pass(10 * time.Second)
		const overlap = time.Minute
		removed := time.Now()
		var until time.Time
		for _, r := range readers {
			change := r.signedBy(w, operator.Application{Overlap: overlap}, signature.V1a)
			require.Len(t, change.Notes, 1)
			held, err := operator.New(w.JS, w.Topology).Endpoint(t.Context(), r.key)
			require.NoError(t, err)
			until = held.Signature.Retiring[0].Until
		}
		require.WithinRange(t, until, removed.Add(overlap-time.Second), removed.Add(overlap))
		w.Pass(20 * time.Second)
		first.Stop()
		w.StartSigner(w.Broker.Option())
		w.Pass(20 * time.Second)
		late.learn(w, signature.V1a)
		w.Pass(40 * time.Second)
		sent := traffic.Stop()
		w.Pass(time.Second)

		assert.Greater(t, sent, 1000)
		for _, r := range readers {
			assert.Empty(t, r.refused, r.key)
			assert.Zero(t, traffic.Arrived(r.Receiver), "nothing came twice")
			seen := map[string]int{}
			for _, hit := range r.Hits() {
				v1, v1a := signatures(hit, signature.V1), signatures(hit, signature.V1a)
				switch {
				case hit.At.Before(added):
					assert.Equal(t, []int{1, 0}, []int{v1, v1a})
					seen["before"]++
				case hit.At.Before(added.Add(time.Second)):
				case !hit.At.After(until): // it is the last instant
					assert.Equal(t, []int{1, 1}, []int{v1, v1a}, "%s after both were asked for", hit.At.Sub(added))
					seen["both"]++
				default:
					assert.Equal(t, []int{0, 1}, []int{v1, v1a}, "%s after the overlap", hit.At.Sub(until))
					seen["after"]++
				}
			}
			assert.Greater(t, seen["before"], 80)
			assert.Greater(t, seen["both"], 700)
			assert.Greater(t, seen["after"], 100)
		}
		for _, outcome := range w.Outcomes() {
			require.Equal(t, delivery.Delivered, outcome)
		}
	})
}

// TestARemovedSchemeStopsWithinASecond ends an overlap under traffic, with two signers.
func TestARemovedSchemeStopsWithinASecond(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := newReader(w, "orders")
		w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		r.signedBy(w, operator.Application{}, signature.V1, signature.V1a)
		w.Pass(2 * time.Second)
		r.learn(w, signature.V1)
		traffic := w.Traffic(20*time.Millisecond, "acme", "com.acme.order.created")
		w.Pass(2*time.Second + 10*time.Millisecond)
		r.signedBy(w, operator.Application{}, signature.V1)
		w.Pass(5 * time.Second)
		ended := time.Now()
		r.signedBy(w, operator.Application{Now: true}, signature.V1)
		w.Pass(5 * time.Second)
		traffic.Stop()
		w.Pass(time.Second)
		before, after := 0, 0
		for _, hit := range r.Hits() {
			switch n := signatures(hit, signature.V1a); {
			case hit.At.Before(ended):
				before++
				assert.Equal(t, 1, n)
			case hit.At.Sub(ended) > time.Second:
				after++
				assert.Zero(t, n, "%s after the end", hit.At.Sub(ended))
			}
		}
		assert.Greater(t, before, 300)
		assert.Greater(t, after, 150)
		assert.Empty(t, r.refused)
	})
}

// TestSignersKeepThePolicy stores a document that nobody could have applied: a weak scheme without its algorithm. Nothing
// is signed by it, its deliveries wait, and those of others go on. A document that is allowed sets them free.
func TestSignersKeepThePolicy(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		weak, good := newReader(w, "weak"), newReader(w, "good")
		good.signedBy(w, operator.Application{}, signature.V1)
		document := weak.Document("acme", "weak", func(document map[string]any) {
			document["signature"] = map[string]any{"schemes": []string{signature.V1, signature.Twilio}}
		})
		_, err := endpoint.Parse(document)
		require.ErrorContains(t, err, "twilio signs with hmac-sha1")
		restored, err := endpoint.Restore(document)
		require.NoError(t, err)
		canonical, err := restored.MarshalJSON()
		require.NoError(t, err)
		kv, err := w.JS.KeyValue(t.Context(), stream.EndpointBucket)
		require.NoError(t, err)
		_, err = kv.Put(t.Context(), stream.EndpointKey(weak.key, w.Topology.Partitions), canonical)
		require.NoError(t, err)
		w.Pass(2 * time.Second)
		good.learn(w, signature.V1)
		for range 5 {
			w.Publish("acme", "com.acme.order.created", `{"n":1}`)
		}
		w.Pass(10 * time.Minute)
		assert.Empty(t, weak.Hits(), "nothing is sent, with the other scheme alone neither")
		assert.Len(t, good.Hits(), 5)
		assert.Contains(t, w.LogText(), "scheme twilio signs with hmac-sha1, which is weak and has to be named to be used")

		weak.signedBy(w, operator.Application{}, signature.V1)
		w.Pass(time.Second)
		weak.learn(w, signature.V1)
		w.Pass(time.Minute)
		assert.Len(t, weak.Hits(), 5)
		assert.Empty(t, weak.refused)
		assert.Zero(t, w.Count(stream.DeadLetters)+w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}
