package signer_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/signer"
)

// TestTheMasterKeyIsChanged goes the way of the manual: the old one, both, everything sealed again, the new one alone.
func TestTheMasterKeyIsChanged(t *testing.T) {
	js, topology := broker(t)
	before, after := vault(t), vault(t)
	names := []endpoint.Key{orders, {Tenant: "acme", Name: "bills"}, {Tenant: "globex", Name: "orders"}}
	rings := map[endpoint.Key][]string{}
	for _, name := range names {
		ring, err := open(t, js, topology, before).Ring(t.Context(), name, []string{"v1", "v1a"})
		require.NoError(t, err)
		rings[name] = ids(ring)
	}
	done, err := open(t, js, topology, after).Reseal(t.Context())
	require.ErrorIs(t, err, signature.ErrWrongMasterKey, "nothing opens without the old one")
	assert.Empty(t, done.Changed)

	both := signature.Vault{Current: after.Current, Previous: []signature.MasterKey{before.Current}}
	done, err = open(t, js, topology, both).Reseal(t.Context())
	require.NoError(t, err)
	assert.ElementsMatch(t, names, done.Changed)
	again, err := open(t, js, topology, both).Reseal(t.Context())
	require.NoError(t, err)
	assert.Empty(t, again.Changed)
	assert.Equal(t, 3, again.Kept)
	for name, want := range rings {
		ring, err := open(t, js, topology, after).Ring(t.Context(), name, []string{"v1", "v1a"})
		require.NoError(t, err)
		assert.Equal(t, want, ids(ring), "the keys are the same")
		_, err = open(t, js, topology, before).Ring(t.Context(), name, []string{"v1"})
		require.ErrorIs(t, err, signature.ErrWrongMasterKey, "the old one opens nothing any more")
	}
}

// TestResealingGivesWayToChanges rotates keys all the time while they are sealed again: no rotation is undone.
func TestResealingGivesWayToChanges(t *testing.T) {
	js, topology := broker(t)
	before, after := vault(t), vault(t)
	both := signature.Vault{Current: after.Current, Previous: []signature.MasterKey{before.Current}}
	old := signature.Vault{Current: before.Current, Previous: []signature.MasterKey{after.Current}}
	_, err := open(t, js, topology, before).Ring(t.Context(), orders, []string{"v1"})
	require.NoError(t, err)
	var last string
	var rotating sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	rotating.Go(func() {
		keyring := open(t, js, topology, old) // it seals under the old one again and again
		for ctx.Err() == nil {
			made, err := signer.NewKey("v1")
			if !assert.NoError(t, err) { //nolint:testifylint // require must not be called in another goroutine
				return
			}
			_, err = keyring.Change(t.Context(), orders, func(ring signature.Ring) (signature.Ring, error) {
				next, fresh, err := ring.Rotate("v1", "", made, time.Now(), 0)
				last = fresh.ID
				return next, err
			})
			if err != nil {
				assert.ErrorContains(t, err, "by others all the time")
			}
		}
	})
	keyring := open(t, js, topology, both)
	for range 30 {
		if _, err := keyring.Reseal(t.Context()); err != nil {
			require.ErrorContains(t, err, "by others all the time")
		}
	}
	stop()
	rotating.Wait()
	_, err = keyring.Reseal(t.Context())
	require.NoError(t, err)
	ring, err := open(t, js, topology, after).Ring(t.Context(), orders, []string{"v1"})
	require.NoError(t, err)
	key, ok := ring.Key(last)
	require.True(t, ok, "the last rotation is still there")
	assert.Equal(t, signature.Active, key.State)
}

// TestADamagedRingIsTold: the others are sealed again.
func TestADamagedRingIsTold(t *testing.T) {
	js, topology := broker(t)
	before, after := vault(t), vault(t)
	bills := endpoint.Key{Tenant: "acme", Name: "bills"}
	for _, name := range []endpoint.Key{orders, bills} {
		_, err := open(t, js, topology, before).Ring(t.Context(), name, []string{"v1"})
		require.NoError(t, err)
	}
	kv, err := js.KeyValue(t.Context(), stream.SigningKeyBucket)
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), stream.EndpointKey(orders, topology.Partitions), []byte("{"))
	require.NoError(t, err)
	done, err := open(t, js, topology, signature.Vault{Current: after.Current, Previous: []signature.MasterKey{before.Current}}).Reseal(t.Context())
	require.ErrorIs(t, err, signature.ErrCorrupt)
	require.ErrorContains(t, err, "acme/orders")
	assert.Equal(t, []endpoint.Key{bills}, done.Changed)
}

// TestASignerWithAWrongMasterKeyMakesNoKeys: what it made would open for no other signer.
func TestASignerWithAWrongMasterKeyMakesNoKeys(t *testing.T) {
	js, topology := broker(t)
	_, err := open(t, js, topology, vault(t)).Ring(t.Context(), orders, []string{"v1"})
	require.NoError(t, err)
	for _, follows := range []bool{false, true} {
		keyring := open(t, js, topology, vault(t))
		ctx, stop := context.WithCancel(t.Context())
		var following sync.WaitGroup
		if follows {
			following.Go(func() { keyring.Follow(ctx) })
		}
		for range 20 { // before and after it knows everything
			_, err = keyring.Ring(t.Context(), endpoint.Key{Tenant: "acme", Name: "new"}, []string{"v1"})
			require.ErrorIs(t, err, signature.ErrWrongMasterKey)
			require.ErrorContains(t, err, "give it the one of the other signers")
		}
		stop()
		following.Wait()
	}
}
