package stream_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// heard is what a follower was told, as words.
type heard struct {
	mu    sync.Mutex
	words []string
}

func (h *heard) sayf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.words = append(h.words, fmt.Sprintf(format, args...))
}

// take returns what was said since the last time.
func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	words := h.words
	h.words = nil
	return words
}

func (h *heard) watch() stream.Watch {
	return stream.Watch{
		Begin: func(time.Time) { h.sayf("begin") },
		Take: func(e stream.Entry) {
			switch {
			case e.Lost:
				h.sayf("%s lost with its bucket", e.Key)
				return
			case e.Removed:
				h.sayf("%s gone", e.Key)
				return
			}
			h.sayf("%s=%s", e.Key, e.Value)
		},
		Ready: func(uint64) { h.sayf("ready") },
		Lost:  func(error) { h.sayf("lost") },
	}
}

// attend follows a bucket until the test ends.
func attend(t *testing.T, of *stream.Bucket) *heard {
	t.Helper()
	h := &heard{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		of.Watch(ctx, h.watch())
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return h
}

func write(t *testing.T, of *stream.Bucket, key, value string) {
	t.Helper()
	_, err := of.Create(t.Context(), key, []byte(value))
	require.NoError(t, err)
}

func TestAFollowerIsToldAtOnce(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		of := bucket(t, b, stream.IdentityBucket)
		write(t, of, "a", "1")
		h := attend(t, of)
		synctest.Wait()
		assert.Equal(t, []string{"begin", "a=1", "ready"}, h.take())
		began := time.Now()
		write(t, of, "b", "2")
		require.NoError(t, of.Delete(t.Context(), "a"))
		synctest.Wait()
		assert.Equal(t, []string{"b=2", "a gone"}, h.take())
		assert.Zero(t, time.Since(began), "without waiting for a poll")
		pass(time.Hour)
		assert.Empty(t, h.take())
	})
}

// TestAChangeIsSeenWithoutAWord has a broker that tells nothing, as one does whose topology is of an older version.
func TestAChangeIsSeenWithoutAWord(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		config := b.stream(t, "KV_"+stream.IdentityBucket).CachedInfo().Config
		require.NotNil(t, config.RePublish)
		config.RePublish = nil
		_, err := b.js.UpdateStream(t.Context(), config)
		require.NoError(t, err)
		of := bucket(t, b, stream.IdentityBucket)
		h := attend(t, of)
		pass(10 * time.Second)
		h.take()
		for n := range 20 { // at every moment between two polls
			write(t, of, fmt.Sprint("k", n), "x")
			pass(730 * time.Millisecond)
			assert.Equal(t, []string{fmt.Sprintf("k%d=x", n)}, h.take())
		}
	})
}

func TestALeaseThatEndsIsSeen(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		h := attend(t, bucket(t, b, stream.DispatcherBucket))
		synctest.Wait()
		_, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "$KV.dispatchers.d1", Header: nats.Header{}, Data: []byte("{}")}, jetstream.WithMsgTTL(5*time.Second))
		require.NoError(t, err)
		pass(4900 * time.Millisecond)
		assert.Equal(t, []string{"begin", "ready", "d1={}"}, h.take())
		pass(time.Second)
		assert.Equal(t, []string{"d1 gone"}, h.take())
		pass(time.Hour) // the broker's mark of it is gone by then, too
		assert.Empty(t, h.take())
	})
}

// TestAnEntryDoesNotSpeakForTheBroker writes entries with the headers by which the broker says what they are, and with
// those by which it says that there is nothing.
func TestAnEntryDoesNotSpeakForTheBroker(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		of := bucket(t, b, stream.IdentityBucket)
		h := attend(t, of)
		synctest.Wait()
		h.take()
		forged := nats.Header{
			"Nats-Subject": {"$KV.identities.victim"}, "Nats-Sequence": {"999999"}, "Nats-Time-Stamp": {"yesterday"}, "Nats-Num-Pending": {"0"},
		}
		all := []nats.Header{forged}
		for _, status := range []string{"204", "404", "408", "503"} {
			all = append(all, nats.Header{"Status": {status}, "Description": {"EOB"}})
		}
		for n, header := range all {
			for _, data := range []string{"", "x"} {
				key := fmt.Sprintf("k%d%s", n, data)
				_, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "$KV.identities." + key, Header: header, Data: []byte(data)})
				require.NoError(t, err)
				synctest.Wait()
				assert.Equal(t, []string{key + "=" + data}, h.take(), "%v", header)
			}
		}
		write(t, of, "good", "1")
		synctest.Wait()
		assert.Equal(t, []string{"good=1"}, h.take(), "and what comes behind them is seen")
		listed, err := of.List(t.Context(), ">")
		require.NoError(t, err)
		require.Len(t, listed, 2*len(all)+1)
		assert.EqualValues(t, 1, listed[0].Revision)
		assert.Equal(t, "k0", listed[0].Key)
		anew := attend(t, of)
		synctest.Wait()
		assert.Len(t, anew.take(), 2*len(all)+3, "also for who reads them all")
	})
}

func TestABucketIsReadInPages(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		of := bucket(t, b, stream.EndpointBucket)
		for n := range 700 {
			write(t, of, fmt.Sprintf("small.%d", n), "x")
		}
		large := strings.Repeat("x", 900<<10)
		for n := range 12 { // more than one page may hold
			write(t, of, fmt.Sprintf("large.%d", n), large)
		}
		listed, err := of.List(t.Context(), "*.*")
		require.NoError(t, err)
		require.Len(t, listed, 712)
		for n, e := range listed {
			require.EqualValues(t, n+1, e.Revision)
		}
		listed, err = of.List(t.Context(), "large.*")
		require.NoError(t, err)
		require.Len(t, listed, 12)
		assert.Len(t, listed[11].Value, len(large))
		h := attend(t, of)
		synctest.Wait()
		words := h.take()
		require.Len(t, words, 714)
		assert.Equal(t, "ready", words[713])
	})
}

// TestAnotherBucketOfTheSameName replaces a bucket by one whose revisions begin again.
func TestAnotherBucketOfTheSameName(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		of := bucket(t, b, stream.IdentityBucket)
		for _, key := range []string{"kept", "left", "third"} {
			write(t, of, key, "old")
		}
		require.NoError(t, of.Delete(t.Context(), "third"))
		h := attend(t, of)
		pass(time.Minute)
		h.take()
		require.NoError(t, b.js.DeleteKeyValue(t.Context(), stream.IdentityBucket))
		require.NoError(t, topology.Apply(t.Context(), b.js))
		write(t, of, "kept", "new")
		pass(10 * time.Second)
		words := h.take()
		assert.Contains(t, words, "lost")
		assert.ElementsMatch(t, []string{"kept lost with its bucket", "kept=new", "left lost with its bucket"}, words[len(words)-4:len(words)-1])
		assert.Less(t, slices.Index(words, "kept lost with its bucket"), slices.Index(words, "kept=new"))
		assert.Equal(t, "ready", words[len(words)-1])
	})
}

// TestWithoutABucketAFollowerWaits takes the bucket away for a while.
func TestWithoutABucketAFollowerWaits(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		of := bucket(t, b, stream.IdentityBucket)
		require.NoError(t, b.js.DeleteKeyValue(t.Context(), stream.IdentityBucket))
		h := attend(t, of)
		pass(time.Minute)
		words := h.take()
		assert.NotContains(t, words, "ready")
		assert.Less(t, len(words), 70, "once a second")
		require.NoError(t, topology.Apply(t.Context(), b.js))
		pass(2 * time.Second)
		assert.Equal(t, []string{"begin", "ready"}, h.take())
		_, err := of.List(within(t, time.Minute), ">")
		require.NoError(t, err)
		require.NoError(t, b.js.DeleteKeyValue(t.Context(), stream.IdentityBucket))
		_, err = of.List(within(t, time.Minute), ">")
		require.ErrorContains(t, err, "topology apply")
	})
}

// TestAfterALossOnlyWhatHasChangedIsToldAgain restarts the broker, over real sockets, and changes something before the
// follower is back.
func TestAfterALossOnlyWhatHasChangedIsToldAgain(t *testing.T) {
	dir := t.TempDir()
	server, err := embedded.Start(embedded.Options{Dir: dir, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	address := strings.TrimPrefix(server.URL(), "nats://")
	connect := func(options ...nats.Option) *broker {
		nc, err := stream.Connect("test", "nats://"+address, quiet(), options...)
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return &broker{nc: nc, js: jetstreamOf(t, nc)}
	}
	follower := connect(nats.ReconnectWait(time.Second), nats.ReconnectJitter(0, 0))
	apply(t, follower)
	of := bucket(t, follower, stream.IdentityBucket)
	for _, key := range []string{"a", "b", "c"} {
		write(t, of, key, "1")
	}
	h := attend(t, of)
	until := func(last string) (words []string) {
		t.Helper()
		require.Eventually(t, func() bool {
			words = append(words, h.take()...)
			return len(words) > 0 && words[len(words)-1] == last
		}, 20*time.Second, time.Millisecond)
		return words
	}
	until("ready")
	server.Stop()
	until("lost")
	server, err = embedded.Start(embedded.Options{Dir: dir, Listen: address})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	writer := bucket(t, connect(), stream.IdentityBucket)
	require.NoError(t, writer.Delete(t.Context(), "b"))
	write(t, writer, "d", "1")
	told := until("ready")
	assert.Subset(t, told, []string{"b gone", "d=1"})
	assert.NotContains(t, told, "a=1")
	assert.NotContains(t, told, "c=1")
	write(t, writer, "e", "1")
	until("e=1")
}
