package stream_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

func document(t *testing.T, name, host string) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Parse([]byte(`{"tenant":"acme","name":"` + name + `","url":"https://` + host + `/in"}`))
	require.NoError(t, err)
	return e
}

// journal is a log that two goroutines may use.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// following is a catalogue, a registry that follows it, and what it logs.
type following struct {
	*stream.Catalogue

	registry *endpoint.Registry
	log      *journal
	changed  []endpoint.Key
	stop     func()
}

func follow(t *testing.T, b *broker, topology stream.Topology) *following {
	t.Helper()
	f := &following{registry: &endpoint.Registry{}, log: &journal{}}
	var err error
	f.Catalogue, err = topology.OpenCatalogue(t.Context(), b.js, slog.New(slog.NewTextHandler(f.log, nil)))
	require.NoError(t, err)
	f.Changed = func(key endpoint.Key, _ uint64) { f.changed = append(f.changed, key) }
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		f.Follow(ctx, f.registry, func() { close(ready) })
	}()
	<-ready
	f.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(f.stop)
	return f
}

func TestTheRegistryFollowsTheCatalogue(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		writer, err := topology.OpenCatalogue(t.Context(), b.js, quiet())
		require.NoError(t, err)
		_, err = writer.Apply(t.Context(), document(t, "early", "early.example.com"))
		require.NoError(t, err)
		f := follow(t, b, topology)
		_, known := f.registry.Get(endpoint.Key{Tenant: "acme", Name: "early"})
		assert.True(t, known, "ready means that everything stored before is known")

		revision, err := writer.Apply(t.Context(), document(t, "orders", "one.example.com"))
		require.NoError(t, err)
		pass(100 * time.Millisecond)
		got, known := f.registry.Get(orders())
		require.True(t, known)
		assert.Equal(t, revision, got.Revision)
		assert.Equal(t, "one.example.com:443", got.Authority())
		assert.Equal(t, []endpoint.Key{{Tenant: "acme", Name: "early"}, orders()}, f.changed)
		e, at, err := f.Get(t.Context(), orders())
		require.NoError(t, err)
		assert.Equal(t, revision, at)
		assert.Equal(t, "one.example.com:443", e.Authority())

		require.NoError(t, writer.Disable(t.Context(), orders(), endpoint.Disabled{At: time.Now(), Reason: "HTTP 410", Revision: revision}))
		pass(100 * time.Millisecond)
		got, _ = f.registry.Get(orders())
		assert.True(t, got.Disabled())
		assert.Equal(t, "HTTP 410", got.Status.Disabled.Reason)

		revision, err = writer.Apply(t.Context(), document(t, "orders", "two.example.com"))
		require.NoError(t, err)
		pass(100 * time.Millisecond)
		got, _ = f.registry.Get(orders())
		assert.Equal(t, "two.example.com:443", got.Authority())
		assert.False(t, got.Disabled(), "applying the document again lifts it")
		require.NoError(t, writer.Disable(t.Context(), orders(), endpoint.Disabled{At: time.Now(), Reason: "again", Revision: revision}))
		pass(100 * time.Millisecond)

		late := follow(t, b, topology)
		got, known = late.registry.Get(orders())
		require.True(t, known)
		assert.True(t, got.Disabled(), "who comes later sees it, too")

		require.NoError(t, writer.Delete(t.Context(), orders()))
		pass(100 * time.Millisecond)
		for _, registry := range []*endpoint.Registry{f.registry, late.registry} {
			_, known = registry.Get(orders())
			assert.False(t, known)
			assert.Equal(t, 1, registry.Len())
		}
		_, _, err = f.Get(t.Context(), orders())
		require.ErrorIs(t, err, stream.ErrNoEndpoint)
		require.ErrorContains(t, err, "acme/orders")
		require.NoError(t, writer.Delete(t.Context(), orders()), "deleting it again is fine")

		_, err = writer.Apply(t.Context(), document(t, "orders", "three.example.com"))
		require.NoError(t, err)
		pass(100 * time.Millisecond)
		got, known = f.registry.Get(orders())
		require.True(t, known)
		assert.False(t, got.Disabled(), "a new one of the same name has nothing of the old one")
		assert.NotContains(t, f.log.String(), "WARN")
		assert.NotContains(t, f.log.String(), "ERROR")
	})
}

// TestAnEndpointCalledStatus has the name of what stands beside a document.
func TestAnEndpointCalledStatus(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		f := follow(t, b, topology)
		key := endpoint.Key{Tenant: "acme", Name: "status"}
		revision, err := f.Apply(t.Context(), document(t, "status", "status.example.com"))
		require.NoError(t, err)
		require.NoError(t, f.Disable(t.Context(), key, endpoint.Disabled{At: time.Now(), Reason: "HTTP 410", Revision: revision}))
		pass(time.Second)
		got, known := f.registry.Get(key)
		require.True(t, known)
		assert.True(t, got.Disabled())
	})
}

// TestWhatDoesNotBelongThereIsIgnored writes past the catalogue.
func TestWhatDoesNotBelongThereIsIgnored(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		f := follow(t, b, topology)
		_, err := f.Apply(t.Context(), document(t, "orders", "good.example.com"))
		require.NoError(t, err)
		kv, err := b.js.KeyValue(t.Context(), stream.EndpointBucket)
		require.NoError(t, err)
		good := stream.EndpointKey(orders(), topology.Partitions)
		other := endpoint.Key{Tenant: "mallory", Name: "orders"}
		foreign := `{"tenant":"acme","name":"orders","url":"https://mallory.example.com/in"}`
		for _, each := range []struct{ key, value, says string }{
			{"readme", "x", "foreign entry among the endpoints"},
			{good, `{"tenant":"acme","name":"orders"}`, "the one before stays in force"},
			{good, `not JSON`, "the one before stays in force"},
			{good + ".status", `not JSON`, "unreadable endpoint status"},
			{stream.EndpointKey(other, topology.Partitions), foreign, "stands in a foreign place and is ignored"},
			{"3.acme.orders", foreign, "stands in the wrong partition"},
			{"3.acme.orders.status", `{"disabled":{"at":"2026-11-24T09:00:00Z","reason":"x","revision":1}}`, "stands in the wrong partition"},
		} {
			_, err := kv.Put(t.Context(), each.key, []byte(each.value))
			require.NoError(t, err)
			pass(time.Second)
			assert.Contains(t, f.log.String(), each.says, each.key)
			got, known := f.registry.Get(orders())
			require.True(t, known, each.key)
			assert.Equal(t, "good.example.com:443", got.Authority(), "%s: nobody reaches another tenant's endpoint", each.key)
			assert.False(t, got.Disabled(), each.key)
			assert.Equal(t, 1, f.registry.Len(), each.key)
		}
		require.NoError(t, kv.Delete(t.Context(), "3.acme.orders"))
		pass(time.Second)
		assert.Equal(t, 1, f.registry.Len(), "nor deletes it from there")
		_, _, err = f.Get(t.Context(), other)
		require.ErrorContains(t, err, "holds the document of acme/orders")
		require.NotErrorIs(t, err, stream.ErrNoEndpoint)
		_, _, err = f.Get(t.Context(), orders())
		require.ErrorContains(t, err, "stored endpoint acme/orders")
	})
}

// TestFollowingGoesOnAfterTheBrokerWasAway changes the catalogue while a follower cannot see it.
func TestFollowingGoesOnAfterTheBrokerWasAway(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first := start(t, embedded.Options{Dir: dir})
		topology := apply(t, first)
		f := follow(t, first, topology)
		for _, name := range []string{"orders", "invoices"} {
			_, err := f.Apply(t.Context(), document(t, name, name+".example.com"))
			require.NoError(t, err)
		}
		pass(time.Second)
		require.Equal(t, 2, f.registry.Len())
		first.nc.Close()
		pass(10 * time.Second)
		assert.Contains(t, f.log.String(), "going on with what is known")
		assert.Equal(t, 2, f.registry.Len())
		f.stop()
		first.server.Stop()

		second := start(t, embedded.Options{Dir: dir})
		writer, err := topology.OpenCatalogue(t.Context(), second.js, quiet())
		require.NoError(t, err)
		require.NoError(t, writer.Delete(t.Context(), orders()))
		_, err = writer.Apply(t.Context(), document(t, "invoices", "moved.example.com"))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			writer.Follow(ctx, f.registry, nil)
		}()
		pass(time.Second)
		_, known := f.registry.Get(orders())
		assert.False(t, known, "a deletion is seen by who was away, too")
		got, _ := f.registry.Get(endpoint.Key{Tenant: "acme", Name: "invoices"})
		assert.Equal(t, "moved.example.com:443", got.Authority())
		cancel()
		<-ended
	})
}

func TestACatalogueNeedsItsBucket(t *testing.T) {
	t.Parallel()
	b := start(t, embedded.Options{Dir: t.TempDir()})
	_, err := stream.Topology{Partitions: 4}.OpenCatalogue(t.Context(), b.js, quiet())
	require.ErrorIs(t, err, jetstream.ErrBucketNotFound)
	require.ErrorContains(t, err, "open bucket endpoints")
	topology := apply(t, b)
	c, err := topology.OpenCatalogue(t.Context(), b.js, quiet())
	require.NoError(t, err)
	_, err = c.Apply(t.Context(), &endpoint.Endpoint{Tenant: "acme", Name: "orders"})
	require.ErrorIs(t, err, endpoint.ErrNotParsed, "what was not parsed is not stored")
}
