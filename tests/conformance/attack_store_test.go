package conformance

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	receivernats "github.com/handfast/handfast/pkg/receiver/nats"
	receiverredis "github.com/handfast/handfast/pkg/receiver/redis"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// everyStore is each store that we have, opened twice: by two processes, say.
func everyStore() map[string]func(t *testing.T) (one, two receiver.Store) {
	return map[string]func(t *testing.T) (one, two receiver.Store){
		"memory": func(*testing.T) (one, two receiver.Store) {
			m := receiver.NewMemory(0)
			return m, m
		},
		"redis": func(t *testing.T) (one, two receiver.Store) {
			server := miniredis.RunT(t)
			open := func() receiver.Store {
				client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
				t.Cleanup(func() { client.Close() })
				store, err := receiverredis.New(client, "")
				require.NoError(t, err)
				return store
			}
			return open(), open()
		},
		"nats": func(t *testing.T) (one, two receiver.Store) {
			server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
			require.NoError(t, err)
			t.Cleanup(server.Stop)
			open := func() receiver.Store {
				conn, err := nats.Connect("", server.Option())
				require.NoError(t, err)
				t.Cleanup(conn.Close)
				js, err := jetstream.New(conn)
				require.NoError(t, err)
				bucket, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "ids", TTL: 24 * time.Hour})
				require.NoError(t, err)
				store, err := receivernats.New(t.Context(), bucket)
				require.NoError(t, err)
				return store
			}
			return open(), open()
		},
	}
}

// TestEveryStoreIsAMapWithOneAtomicStep is what pkg/receiver asks of a store.
func TestEveryStoreIsAMapWithOneAtomicStep(t *testing.T) {
	keep := receiver.Keep{Needed: time.Minute, Useful: time.Hour}
	for name, open := range everyStore() {
		t.Run(name, func(t *testing.T) {
			one, two := open(t)
			for round := range 20 {
				key := rand.Text()
				contest := func(old []byte, prefix string) []byte {
					won := make(chan []byte, 20)
					var wg sync.WaitGroup
					for i := range 20 {
						store, value := one, []byte(prefix+strconv.Itoa(i))
						if i%2 == 0 {
							store = two
						}
						wg.Go(func() {
							ok, err := store.Swap(t.Context(), key, old, value, keep)
							assert.NoError(t, err)
							if ok {
								won <- value
							}
						})
					}
					wg.Wait()
					require.Len(t, won, 1, "round %d: exactly one wins", round)
					return <-won
				}
				value, err := two.Get(t.Context(), key)
				require.NoError(t, err)
				require.Nil(t, value)
				first := contest(nil, "first ")
				second := contest(first, "second ")
				value, err = one.Get(t.Context(), key)
				require.NoError(t, err)
				require.Equal(t, second, value)
			}
		})
	}
}

// TestTwoReceiversProcessOnce has two processes that share a store, and a crowd that sends one delivery to both at once.
func TestTwoReceiversProcessOnce(t *testing.T) {
	for name, open := range everyStore() {
		t.Run(name, func(t *testing.T) {
			one, two := open(t)
			a := aim(t, func(o *receiver.Options) { o.Store = one }, signature.V1a)
			b := aim(t, func(o *receiver.Options) { o.Store, o.Keys = two, verifiersOf(t, a.keys) }, signature.V1a)
			captured := a.sign("msg_1", a.now(), attackBody)
			statuses := make(chan int, 20)
			var wg sync.WaitGroup
			for i := range cap(statuses) {
				to := a
				if i%2 == 0 {
					to = b
				}
				wg.Go(func() { statuses <- to.post(friend, captured) })
			}
			wg.Wait()
			counts := map[int]int{}
			for range cap(statuses) {
				counts[<-statuses]++
			}
			assert.Equal(t, map[int]int{http.StatusOK: 1, receiver.StatusReplay: 19}, counts)
			assert.EqualValues(t, 1, a.calls.Load()+b.calls.Load(), "one handler, once")

			b.offset.Add(int64(time.Second))
			assert.Equal(t, http.StatusNoContent, b.post(friend, a.sign("msg_1", b.now(), attackBody)), "the other knows that it is done")
		})
	}
}

func verifiersOf(t *testing.T, keys []signature.Key) []signature.Verifier {
	t.Helper()
	verifiers := make([]signature.Verifier, len(keys))
	for i, key := range keys {
		var err error
		verifiers[i], err = key.Verifier()
		require.NoError(t, err)
	}
	return verifiers
}
