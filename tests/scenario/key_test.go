package scenario

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// knowledge is which of an endpoint's keys its receiver has been told.
type knowledge int

const (
	onlyOld knowledge = iota // the oldest that still signs: it learns of each new key at the last moment
	onlyNew                  // the newest: it forgets each old key at once
	both                     // all that sign
)

// pupil is a receiver that accepts what one of the keys that it knows has signed, by each scheme, and counts what it refuses.
type pupil struct {
	*kit.Receiver

	key   endpoint.Key
	knows knowledge

	mu       sync.Mutex
	told     map[string][]signature.Key // by scheme, oldest first
	refused  []string
	accepted int
}

var signedBy = []string{signature.V1, signature.V1a}

func newPupil(w *kit.World, name string, knows knowledge) *pupil {
	p := &pupil{key: endpoint.Key{Tenant: "acme", Name: name}, knows: knows, told: map[string][]signature.Key{}}
	p.Receiver = w.Receiver(name+".example.com", p)
	w.Apply(p.Document("acme", name))
	return p
}

func (p *pupil) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, scheme := range signedBy {
		if _, err := signature.VerifyStandard(r.Header, body, p.verifiers(scheme), time.Now(), 0); err != nil {
			p.refused = append(p.refused, time.Now().String()+" "+scheme+": "+err.Error())
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	p.accepted++
	w.WriteHeader(http.StatusNoContent)
}

// verifiers is called with the lock held.
func (p *pupil) verifiers(scheme string) []signature.Verifier {
	now := time.Now()
	known := slices.DeleteFunc(slices.Clone(p.told[scheme]), func(k signature.Key) bool { return k.Over(now) })
	switch {
	case len(known) == 0:
	case p.knows == onlyOld:
		known = known[:1]
	case p.knows == onlyNew:
		known = known[len(known)-1:]
	}
	var all []signature.Verifier
	for _, k := range known {
		if v, err := k.Verifier(); err == nil {
			all = append(all, v)
		}
	}
	return all
}

// tell brings a pupil up to date: each key with the end that it has now, in the order in which they became active.
func (p *pupil) tell(scheme string, active signature.Key, retiring ...signature.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(retiring, func(a, b signature.Key) int { return a.NotAfter.Compare(b.NotAfter) })
	p.told[scheme] = append(slices.Clone(retiring), active)
}

// locksmith changes keys as a person does.
type locksmith struct {
	*operator.Operator

	w *kit.World
}

func (l locksmith) rotate(p *pupil, scheme string, overlap time.Duration) operator.KeyChange {
	l.w.T.Helper()
	change, err := l.RotateKey(l.w.T.Context(), p.key, operator.KeyRotation{Scheme: scheme, Overlap: overlap}, l.w.Vault)
	require.NoError(l.w.T, err)
	p.tell(scheme, change.Key, change.Retiring...)
	return change
}

// teach tells a pupil the first keys.
func (l locksmith) teach(p *pupil) {
	l.w.T.Helper()
	ring, err := l.Keys(l.w.T.Context(), p.key, l.w.Vault)
	require.NoError(l.w.T, err)
	for _, k := range ring.Keys() {
		p.tell(k.Scheme, k)
	}
}

// made reports whether the key has made one of the signatures of a message.
func made(t *testing.T, k signature.Key, hit kit.Hit) bool {
	t.Helper()
	v, err := k.Verifier()
	require.NoError(t, err)
	_, err = signature.VerifyStandard(hit.Header, hit.Body, []signature.Verifier{v}, hit.At, 0)
	return err == nil
}

func signatures(hit kit.Hit, scheme string) int {
	n := 0
	for one := range strings.FieldsSeq(hit.Header.Get(signature.HeaderSignature)) {
		if strings.HasPrefix(one, scheme+",") {
			n++
		}
	}
	return n
}

// TestKeysRotateEverySecond rotates the keys of both schemes every second for a minute, under traffic, with two signers
// of which one is replaced in the middle. Receivers know only old keys, only new ones, or both; none refuses anything.
func TestKeysRotateEverySecond(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		pupils := []*pupil{newPupil(w, "old", onlyOld), newPupil(w, "new", onlyNew), newPupil(w, "both", both)}
		first := w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		for _, p := range pupils {
			l.teach(p)
		}
		traffic := w.Traffic(100*time.Millisecond, "acme", "com.acme.order.created")
		w.Pass(25 * time.Millisecond) // between two events
		const overlap = 4500 * time.Millisecond
		ids := map[string]bool{}
		for i := range 60 {
			for _, p := range pupils {
				for _, scheme := range signedBy {
					if i%2 == 0 { // every other time the key waits before it signs
						_, err := l.CreateKey(t.Context(), p.key, scheme, false, w.Vault)
						require.NoError(t, err)
					}
					change := l.rotate(p, scheme, overlap)
					require.Len(t, change.Retiring, min(i+1, 5))
					require.False(t, ids[change.Key.ID])
					ids[change.Key.ID] = true
				}
			}
			if i == 30 {
				first.Stop()
				w.StartSigner(w.Broker.Option())
			}
			w.Pass(time.Second)
		}
		last := time.Now()
		w.Pass(overlap + time.Second)
		sent := traffic.Stop()
		w.Pass(time.Second)

		assert.Greater(t, sent, 600)
		for _, p := range pupils {
			assert.Empty(t, p.refused, p.key)
			assert.Equal(t, sent, p.accepted, p.key)
			assert.Zero(t, traffic.Arrived(p.Receiver), "nothing came twice")
			for _, hit := range p.Hits() {
				for _, scheme := range signedBy {
					n := signatures(hit, scheme)
					if since := hit.At.Sub(last); since > overlap {
						assert.Equal(t, 1, n, "what has retired does not sign: %s after the last rotation", since)
					} else {
						assert.LessOrEqual(t, n, 6)
					}
				}
			}
		}
		for _, outcome := range w.Outcomes() {
			require.Equal(t, delivery.Delivered, outcome)
		}
		assert.Zero(t, w.Count(stream.Retries)+w.Count(stream.DeadLetters)+w.Count(stream.Backlog)+w.Count(stream.Deliveries))
	})
}

// TestARevokedKeyStopsWithinASecond revokes a key that signs beside another one, under traffic, with two signers.
func TestARevokedKeyStopsWithinASecond(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		p := newPupil(w, "orders", onlyNew)
		w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		l.teach(p)
		traffic := w.Traffic(20*time.Millisecond, "acme", "com.acme.order.created")
		w.Pass(5*time.Second + 10*time.Millisecond)
		stolen := p.told[signature.V1][0]
		_, err := l.RevokeKey(t.Context(), p.key, stolen.ID, w.Vault)
		require.ErrorIs(t, err, signature.ErrLastKey)
		require.ErrorContains(t, err, "`handfast key rotate acme/orders --scheme v1`")
		l.rotate(p, signature.V1, 24*time.Hour)
		w.Pass(5 * time.Second)
		_, err = l.RevokeKey(t.Context(), p.key, stolen.ID, w.Vault)
		require.NoError(t, err)
		revoked := time.Now()
		w.Pass(5 * time.Second)
		sent := traffic.Stop()
		w.Pass(time.Second)

		before, after := 0, 0
		for _, hit := range p.Hits() {
			switch {
			case hit.At.Before(revoked):
				before++
				assert.True(t, made(t, stolen, hit), "it signed until then")
			case hit.At.Sub(revoked) > time.Second:
				after++
				assert.False(t, made(t, stolen, hit), "%s after it was revoked", hit.At.Sub(revoked))
			}
		}
		assert.Greater(t, before, 400)
		assert.Greater(t, after, 150)
		assert.Empty(t, p.refused)
		assert.Zero(t, traffic.Arrived(p.Receiver))
		assert.Equal(t, sent, p.accepted)
	})
}
