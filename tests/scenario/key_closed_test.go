package scenario

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// TestASignerThatCannotOpenARingWaits puts a ring in the place of one endpoint's that is sealed under another master key.
// Its deliveries wait, those of others go on, and nothing is sent unsigned.
func TestASignerThatCannotOpenARingWaits(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		closed, open := newPupil(w, "closed", both), newPupil(w, "open", both)
		w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		l.teach(closed)
		l.teach(open)
		w.Publish("acme", "com.acme.order.created", `{"n":1}`)
		w.Pass(time.Second)
		require.Equal(t, 2, closed.accepted+open.accepted)

		kv, err := w.JS.KeyValue(t.Context(), stream.SigningKeyBucket)
		require.NoError(t, err)
		at := stream.EndpointKey(closed.key, w.Topology.Partitions)
		good, err := kv.Get(t.Context(), at)
		require.NoError(t, err)
		another, err := signature.GenerateMasterKey(rand.Reader)
		require.NoError(t, err)
		ring, err := l.Keys(t.Context(), closed.key, w.Vault)
		require.NoError(t, err)
		sealed, err := ring.Seal(another, closed.key.String())
		require.NoError(t, err)
		_, err = kv.Put(t.Context(), at, sealed)
		require.NoError(t, err)
		w.Pass(time.Millisecond)
		for range 5 {
			w.Publish("acme", "com.acme.order.created", `{"n":2}`)
		}
		w.Pass(10 * time.Minute)
		assert.Equal(t, 1, closed.accepted, "its deliveries wait")
		assert.Equal(t, 6, open.accepted, "those of another endpoint do not")
		assert.Contains(t, w.LogText(), "signing keys cannot be opened; deliveries of this endpoint wait")
		assert.Contains(t, w.LogText(), signature.ErrWrongMasterKey.Error())
		_, err = l.RotateKey(t.Context(), closed.key, operator.KeyRotation{Scheme: signature.V1, Overlap: time.Hour}, w.Vault)
		require.ErrorIs(t, err, signature.ErrWrongMasterKey, "nothing is put in the place of what cannot be opened")

		_, err = kv.Put(t.Context(), at, good.Value())
		require.NoError(t, err)
		w.Pass(time.Minute)
		assert.Equal(t, 6, closed.accepted)
		assert.Empty(t, closed.refused, "and nothing came unsigned")
		assert.Len(t, closed.Hits(), 6)
		assert.Zero(t, w.Count(stream.DeadLetters)+w.Count(stream.Retries)+w.Count(stream.Deliveries))
	})
}
