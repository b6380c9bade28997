package signer

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

var orders = endpoint.Key{Tenant: "acme", Name: "orders"}

// deaf is a bucket whose watches can be made to stand still without an error, as a watch does behind a broken route. It
// counts what is asked of it.
type deaf struct {
	jetstream.KeyValue

	mu    sync.Mutex
	still bool
	gets  int
}

func (d *deaf) stand(still bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.still = still
}

func (d *deaf) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gets
}

func (d *deaf) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	d.mu.Lock()
	d.gets++
	d.mu.Unlock()
	return d.KeyValue.Get(ctx, key)
}

// deafTo is what a deaf bucket follows.
type deafTo struct {
	watched

	ear *deaf
}

func (d deafTo) Watch(ctx context.Context, w stream.Watch) {
	take := w.Take
	w.Take = func(e stream.Entry) {
		d.ear.mu.Lock()
		still := d.ear.still
		d.ear.mu.Unlock()
		if !still {
			take(e)
		}
	}
	d.watched.Watch(ctx, w)
}

// shared is one bucket with a keyring that follows it, and can become deaf, and one that writes.
type shared struct {
	*deaf

	t                  *testing.T
	js                 jetstream.JetStream
	following, writing *Keyring
}

func inBubble(t *testing.T, story func(shared)) {
	t.Helper()
	ats.Register()
	defer ats.Unregister()
	synctest.Test(t, func(t *testing.T) {
		server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
		require.NoError(t, err)
		defer server.Stop()
		nc, err := nats.Connect("", server.Option())
		require.NoError(t, err)
		defer nc.Close()
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		topology, err := stream.Topology{Partitions: 2}.Fill()
		require.NoError(t, err)
		require.NoError(t, topology.Apply(t.Context(), js))
		master, err := signature.GenerateMasterKey(rand.Reader)
		require.NoError(t, err)
		open := func() *Keyring {
			k, err := OpenKeyring(t.Context(), js, topology, signature.Vault{Current: master}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			return k
		}
		following, writing := open(), open()
		d := &deaf{KeyValue: following.kv}
		following.kv, following.watched = d, deafTo{watched: following.bucket, ear: d}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { following.Follow(ctx) })
		defer running.Wait()
		defer cancel()
		synctest.Wait()
		story(shared{deaf: d, t: t, js: js, following: following, writing: writing})
	})
}

func rotate(t *testing.T, k *Keyring) (fresh signature.Key) {
	t.Helper()
	_, err := k.Change(t.Context(), orders, func(before signature.Ring) (signature.Ring, error) {
		made, err := NewKey(signature.V1)
		require.NoError(t, err)
		after, active, err := before.Rotate(signature.V1, "", made, time.Now(), time.Hour)
		fresh = active
		return after, err
	})
	require.NoError(t, err)
	return fresh
}

func holds(t *testing.T, k *Keyring, key signature.Key) bool {
	t.Helper()
	ring, err := k.Ring(t.Context(), orders, []string{signature.V1})
	require.NoError(t, err)
	_, ok := ring.Key(key.ID)
	return ok
}

// TestASignerThatHearsNothingAsks lets the watch stand still without an error: what is written then is in force within a
// second all the same.
func TestASignerThatHearsNothingAsks(t *testing.T) {
	inBubble(t, func(s shared) {
		t := s.t
		_, err := s.following.Ring(t.Context(), orders, []string{signature.V1})
		require.NoError(t, err)
		synctest.Wait()
		s.stand(true)
		for range 8 { // the moment of the change within the signer's own rhythm differs each time
			busy := time.Now()
			for time.Since(busy) < 2*time.Second { // it is sure of what it knows, as far as it can be
				s.following.Ring(t.Context(), orders, []string{signature.V1})
				<-time.After(70 * time.Millisecond)
			}
			fresh := rotate(t, s.writing)
			changed := time.Now()
			for !holds(t, s.following, fresh) {
				require.Less(t, time.Since(changed), time.Second)
				<-time.After(10 * time.Millisecond)
			}
			assert.LessOrEqual(t, time.Since(changed), time.Second)
			s.stand(false)
			fresh = rotate(t, s.writing) // from which it hears of this one, and not of the one before
			synctest.Wait()
			require.True(t, holds(t, s.following, fresh))
			s.stand(true)
			<-time.After(time.Hour)
		}
	})
}

// TestABusySignerAnswersFromMemory counts what a thousand requests ask of the bucket.
func TestABusySignerAnswersFromMemory(t *testing.T) {
	inBubble(t, func(s shared) {
		t := s.t
		_, err := s.writing.Ring(t.Context(), orders, []string{signature.V1})
		require.NoError(t, err)
		synctest.Wait()
		_, err = s.following.Ring(t.Context(), orders, []string{signature.V1})
		require.NoError(t, err)
		synctest.Wait() // the first look has ended
		before := s.asked()
		for range 1000 {
			_, err := s.following.Ring(t.Context(), orders, []string{signature.V1})
			require.NoError(t, err)
			<-time.After(10 * time.Millisecond)
		}
		assert.Equal(t, before, s.asked())
	})
}

// TestABucketThatIsMadeAnewIsReadAnew: its revisions begin again, and nothing of the old one is left.
func TestABucketThatIsMadeAnewIsReadAnew(t *testing.T) {
	inBubble(t, func(s shared) {
		t := s.t
		first, err := s.writing.Ring(t.Context(), orders, []string{signature.V1})
		require.NoError(t, err)
		for range 10 { // the old bucket's revisions are higher than those of the new one
			rotate(t, s.writing)
		}
		synctest.Wait()
		require.True(t, holds(t, s.following, first.Keys()[0]))
		<-time.After(time.Minute) // in virtual time both buckets would be made at the same instant
		require.NoError(t, s.js.DeleteKeyValue(t.Context(), stream.SigningKeyBucket))
		require.NoError(t, stream.Topology{Partitions: 2}.Apply(t.Context(), s.js))
		<-time.After(time.Second)
		assert.False(t, holds(t, s.following, first.Keys()[0]))
		second, err := s.writing.Ring(t.Context(), orders, []string{signature.V1})
		require.NoError(t, err)
		synctest.Wait() // what it has begun to find out
		assert.True(t, holds(t, s.following, second.Keys()[0]))
	})
}

// old is a bucket that answers as a replica does that is behind: with what stood there before.
type old struct {
	jetstream.KeyValue

	entry jetstream.KeyValueEntry
}

func (o *old) Get(context.Context, string) (jetstream.KeyValueEntry, error) { return o.entry, nil }

// TestAReplicaThatIsBehindBringsNothingBack has a keyring that is not sure ask, and get an answer that is older than what
// it has heard.
func TestAReplicaThatIsBehindBringsNothingBack(t *testing.T) {
	inBubble(t, func(s shared) {
		t := s.t
		_, err := s.writing.Ring(t.Context(), orders, []string{signature.V1})
		require.NoError(t, err)
		before, err := s.writing.kv.Get(t.Context(), stream.EndpointKey(orders, s.writing.partitions))
		require.NoError(t, err)
		<-time.After(time.Second)
		fresh := rotate(t, s.writing)
		synctest.Wait()
		s.following.kv = &old{KeyValue: s.deaf, entry: before}
		<-time.After(time.Minute)
		assert.True(t, holds(t, s.following, fresh), "it was not sure, and asked")
	})
}

// stepped is an entry that a broker has written whose clock was behind that of the one before.
type stepped struct {
	jetstream.KeyValueEntry

	at time.Time
}

func (s stepped) Created() time.Time { return s.at }

// TestAClockThatStepsBackKeepsNoRevokedKey has a keyring that hears nothing ask, and get an answer that is newer and was
// written at an earlier time: the leader of the bucket has changed, or its clock was set.
func TestAClockThatStepsBackKeepsNoRevokedKey(t *testing.T) {
	inBubble(t, func(s shared) {
		t := s.t
		_, err := s.writing.Ring(t.Context(), orders, []string{signature.V1})
		require.NoError(t, err)
		synctest.Wait()
		s.stand(true)
		fresh := rotate(t, s.writing)
		now, err := s.writing.kv.Get(t.Context(), stream.EndpointKey(orders, s.writing.partitions))
		require.NoError(t, err)
		s.following.kv = &old{KeyValue: s.deaf, entry: stepped{now, now.Created().Add(-time.Hour)}}
		<-time.After(time.Minute)
		assert.True(t, holds(t, s.following, fresh), "the keys of before are used")
		<-time.After(2 * lookTime) // what looks for news in vain has ended by then
	})
}
