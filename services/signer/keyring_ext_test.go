package signer_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/services/signer"
)

func broker(t *testing.T) (jetstream.JetStream, stream.Topology) {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	nc, err := nats.Connect("", server.Option())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	topology, err := stream.Topology{Partitions: 2}.Fill()
	require.NoError(t, err)
	require.NoError(t, topology.Apply(t.Context(), js))
	return js, topology
}

func vault(t *testing.T) signature.Vault {
	t.Helper()
	master, err := signature.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	return signature.Vault{Current: master}
}

func open(t *testing.T, js jetstream.JetStream, topology stream.Topology, v signature.Vault) *signer.Keyring {
	t.Helper()
	keyring, err := signer.OpenKeyring(t.Context(), js, topology, v, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return keyring
}

var orders = endpoint.Key{Tenant: "acme", Name: "orders"}

func ids(ring signature.Ring) []string {
	var all []string
	for _, key := range ring.Keys() {
		all = append(all, key.Scheme+"="+key.ID)
	}
	return all
}

// TestSignersAgreeOnNewKeys lets many signers meet an endpoint without keys at the same moment.
func TestSignersAgreeOnNewKeys(t *testing.T) {
	js, topology := broker(t)
	v := vault(t)
	var group sync.WaitGroup
	rings := make([]signature.Ring, 8)
	problems := make([]error, len(rings))
	for i := range rings {
		keyring := open(t, js, topology, v)
		group.Go(func() { rings[i], problems[i] = keyring.Ring(t.Context(), orders, []string{"v1", "v1a"}) })
	}
	group.Wait()
	for i, ring := range rings {
		require.NoError(t, problems[i])
		assert.Equal(t, ids(rings[0]), ids(ring))
		assert.Len(t, ring.Keys(), 2)
	}
}

func TestAnotherSchemeGetsAKeyOfItsOwn(t *testing.T) {
	js, topology := broker(t)
	keyring := open(t, js, topology, vault(t))
	first, err := keyring.Ring(t.Context(), orders, []string{"v1"})
	require.NoError(t, err)
	second, err := keyring.Ring(t.Context(), orders, []string{"v1", "v1a"})
	require.NoError(t, err)
	assert.Contains(t, ids(second), ids(first)[0], "the key that was there stays")
	assert.Len(t, second.Keys(), 2)
}

// TestKeysStayClosedUnderAnotherMasterKey: what cannot be opened is neither replaced nor signed without.
func TestKeysStayClosedUnderAnotherMasterKey(t *testing.T) {
	js, topology := broker(t)
	made, err := open(t, js, topology, vault(t)).Ring(t.Context(), orders, []string{"v1"})
	require.NoError(t, err)
	_, err = open(t, js, topology, vault(t)).Ring(t.Context(), orders, []string{"v1"})
	require.ErrorIs(t, err, signature.ErrWrongMasterKey)
	for _, key := range made.Keys() {
		assert.NotContains(t, err.Error(), key.Reveal())
	}
}

// TestWhatIsStoredIsSealed reads the bucket as a thief would.
func TestWhatIsStoredIsSealed(t *testing.T) {
	js, topology := broker(t)
	ring, err := open(t, js, topology, vault(t)).Ring(t.Context(), orders, []string{"v1", "v1a"})
	require.NoError(t, err)
	kv, err := js.KeyValue(t.Context(), stream.SigningKeyBucket)
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), stream.EndpointKey(orders, topology.Partitions))
	require.NoError(t, err)
	for _, key := range ring.Keys() {
		assert.NotContains(t, string(entry.Value()), key.Reveal()[len("whsec_"):][:16])
	}
}

// TestRemovedKeysStopSigning follows the bucket: a ring that is gone, or that cannot be opened any more, is not kept.
func TestRemovedKeysStopSigning(t *testing.T) {
	js, topology := broker(t)
	keyring := open(t, js, topology, vault(t))
	first, err := keyring.Ring(t.Context(), orders, []string{"v1"})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { keyring.Follow(ctx) })
	defer following.Wait()
	defer cancel()
	kv, err := js.KeyValue(t.Context(), stream.SigningKeyBucket)
	require.NoError(t, err)
	require.NoError(t, kv.Delete(t.Context(), stream.EndpointKey(orders, topology.Partitions)))
	require.Eventually(t, func() bool {
		next, err := keyring.Ring(t.Context(), orders, []string{"v1"})
		return err == nil && ids(next)[0] != ids(first)[0]
	}, 5*time.Second, 5*time.Millisecond)
	_, err = kv.Put(t.Context(), stream.EndpointKey(orders, topology.Partitions), []byte("not a ring"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := keyring.Ring(t.Context(), orders, []string{"v1"})
		return err != nil
	}, 5*time.Second, 5*time.Millisecond, "a ring that does not open must not go on signing with the one before")
}

func TestASignerSaysWhatItLacks(t *testing.T) {
	_, err := signer.New(t.Context(), signer.Config{}, signer.Dependencies{})
	for _, word := range []string{"NATS", "Logger", "TracerProvider", "MeterProvider"} {
		require.ErrorContains(t, err, word)
	}
}
