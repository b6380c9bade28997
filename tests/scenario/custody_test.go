package scenario

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// strongbox is a token with one key, which a test takes away and gives back. It is as slow as a real one.
type strongbox struct {
	mu     sync.Mutex
	key    ed25519.PrivateKey
	away   error
	signed int
}

func (b *strongbox) Sign(ctx context.Context, _ string, message []byte) ([]byte, error) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away != nil {
		return nil, b.away
	}
	b.signed++
	return ed25519.Sign(b.key, message), nil
}

func (b *strongbox) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func newPair(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return private
}

// TestATokenThatIsAway keeps the v1a key of one endpoint in a token, and takes that away. Its deliveries wait, those of
// another go on, and nothing is signed by the key that is in the token's place for a while, nor by v1 alone.
func TestATokenThatIsAway(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		right := newPair(t)
		box := &strongbox{key: right}
		w.Signer.Custody = box
		inToken, open := newPupil(w, "token", both), newPupil(w, "open", both)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		public, err := signature.PublicText(signature.V1a, right.Public())
		require.NoError(t, err)
		held, err := signature.KeyInCustody(signature.V1a, "token:pkcs11:token=acme;object=orders?module-path=/lib/p11.so&pin-source=env:PIN", public)
		require.NoError(t, err)
		change, err := l.ImportTokenKey(t.Context(), inToken.key, held, false, w.Vault)
		require.NoError(t, err)
		assert.Equal(t, signature.Active, change.Key.State)
		w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		publish := func(n int) {
			for range n {
				w.Publish("acme", "com.acme.order.created", `{"n":1}`)
			}
		}
		l.teach(inToken)
		l.teach(open)
		publish(3)
		w.Pass(time.Second)
		assert.Equal(t, 3, inToken.accepted)
		assert.Equal(t, 3, open.accepted)

		box.set(func() { box.away = errors.New("unplugged") })
		publish(5)
		w.Pass(10 * time.Minute)
		assert.Equal(t, 3, inToken.accepted, "its deliveries wait")
		assert.Equal(t, 8, open.accepted, "those of another endpoint do not")
		assert.Contains(t, w.LogText(), signature.ErrCustody.Error())
		assert.Contains(t, w.LogText(), "unplugged")
		_, err = l.RotateKey(t.Context(), inToken.key, operator.KeyRotation{Scheme: signature.V1a, Overlap: time.Hour}, w.Vault)
		require.ErrorIs(t, err, signature.ErrNotDecided, "a rotation makes no sealed key in its place")

		box.set(func() { box.away, box.key = nil, newPair(t) })
		w.Pass(10 * time.Minute)
		assert.Equal(t, 3, inToken.accepted, "and not by another key")
		assert.Contains(t, w.LogText(), "not one by the registered public key")

		box.set(func() { box.key = right })
		w.Pass(time.Minute)
		assert.Equal(t, 8, inToken.accepted)
		assert.Empty(t, inToken.refused, "nothing came unsigned, or signed by half")
		assert.Zero(t, w.Count(stream.DeadLetters)+w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}

// TestTheMasterKeyChangesUnderTraffic follows the manual of `handfast key reseal`: signers with both keys one after the
// other, everything sealed again, signers with the new one alone. Every delivery arrives once, signed by the same keys.
func TestTheMasterKeyChangesUnderTraffic(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		pupils := []*pupil{newPupil(w, "a", both), newPupil(w, "b", both)}
		signers := [2]*kit.Service{w.StartSigner(w.Broker.Option()), w.StartSigner(w.Broker.Option())}
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		for _, p := range pupils {
			l.teach(p)
		}
		fresh, err := signature.GenerateMasterKey(rand.Reader)
		require.NoError(t, err)
		old, alone := w.Vault, signature.Vault{Current: fresh}
		twoKeys := signature.Vault{Current: fresh, Previous: []signature.MasterKey{old.Current}}
		replace := func(with signature.Vault) {
			w.Signer.Vault = with
			for i := range signers {
				next := w.StartSigner(w.Broker.Option())
				signers[i].Stop()
				signers[i] = next
				w.Pass(2 * time.Second)
			}
		}
		traffic := w.Traffic(50*time.Millisecond, "acme", "com.acme.order.created")
		w.Pass(time.Second + 25*time.Millisecond)
		replace(twoKeys)
		result, err := l.ResealKeys(t.Context(), twoKeys)
		require.NoError(t, err)
		assert.Equal(t, []string{"acme/a", "acme/b"}, result.Changed)
		again, err := l.ResealKeys(t.Context(), twoKeys)
		require.NoError(t, err)
		assert.Equal(t, operator.Resealed{Changed: []string{}, Kept: 2}, again)
		w.Pass(time.Second)
		replace(alone)
		w.Pass(2 * time.Second)
		sent := traffic.Stop()
		w.Pass(time.Minute)
		for _, p := range pupils {
			assert.Empty(t, p.refused)
			assert.Equal(t, sent, p.accepted)
			assert.Zero(t, traffic.Arrived(p.Receiver))
		}
		_, err = l.Keys(t.Context(), pupils[0].key, old)
		require.ErrorIs(t, err, signature.ErrWrongMasterKey, "the old one can be destroyed")
		assert.NotContains(t, w.LogText(), signature.ErrWrongMasterKey.Error())
	})
}

// TestSignersThatHaveLostTheMasterKey are given another one: they sign nothing, make no keys that others could not open,
// and say so. With the right one everything arrives.
func TestSignersThatHaveLostTheMasterKey(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		p := newPupil(w, "orders", both)
		first := w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		l.teach(p)
		first.Stop()
		lost, err := signature.GenerateMasterKey(rand.Reader)
		require.NoError(t, err)
		right := w.Signer.Vault
		w.Signer.Vault = signature.Vault{Current: lost}
		wrong := [2]*kit.Service{w.StartSigner(w.Broker.Option()), w.StartSigner(w.Broker.Option())}
		w.Pass(2 * time.Second)
		late := newPupil(w, "late", both)
		w.Pass(time.Second)
		for range 5 {
			w.Publish("acme", "com.acme.order.created", `{"n":1}`)
		}
		w.Pass(10 * time.Minute)
		assert.Empty(t, p.Hits())
		assert.Empty(t, late.Hits())
		assert.Contains(t, w.LogText(), "this signer's master key opens nothing of what is stored")
		_, err = l.Keys(t.Context(), endpoint.Key{Tenant: "acme", Name: "late"}, w.Vault)
		require.Error(t, err, "none were made")

		w.Signer.Vault = right
		w.StartSigner(w.Broker.Option())
		for _, s := range wrong {
			s.Stop()
		}
		w.Pass(2 * time.Minute)
		assert.Equal(t, 5, p.accepted)
		assert.Empty(t, p.refused)
		assert.Len(t, late.Hits(), 5)
	})
}
