package mtls_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

func TestReuse(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2 %t", http2), func(t *testing.T) {
			p := newPeers(t, true)
			receiver := p.website(p.serverTLS(), readAll, http2)
			pool := p.pool()
			alpn := "http/1.1"
			if http2 {
				alpn = "h2"
			}
			var proof *mtls.Proof
			for i := range 1000 {
				response, err := pool.Do(t.Context(), p.target(receiver.address), post(100))
				require.NoError(t, err)
				require.Equal(t, http.StatusNoContent, response.Status)
				require.Equal(t, i > 0, response.Reused)
				proof = response.Proof
			}
			assert.EqualValues(t, 1, receiver.accepts.Load())
			assert.Equal(t, alpn, proof.ALPN)
			assert.Equal(t, receiver.address, proof.Authority)
			assert.Equal(t, receiver.address, proof.Remote)
			assert.Equal(t, receiverName, proof.ServerName)
			assert.Equal(t, "TLS 1.3", proof.Version)
			assert.NotEmpty(t, proof.Cipher)
			assert.NotEmpty(t, proof.Curve)
			assert.False(t, proof.Resumed)
			assert.True(t, proof.Requested)
			assert.Empty(t, proof.Unlisted)
			assert.Equal(t, []string{"CN=clients"}, proof.AcceptableCAs)
			assert.Equal(t, 1, proof.AcceptableCount)
			assert.Equal(t, p.identity.Fingerprint(), proof.Client.Fingerprints[0])
			assert.Equal(t, []string{receiverName}, proof.Server.Names)
			assert.Positive(t, proof.Handshake)
			assert.Positive(t, proof.Connect)

			var group sync.WaitGroup
			var first atomic.Int64
			for range 64 {
				group.Go(func() {
					for range 20 {
						response, err := pool.Do(t.Context(), p.target(receiver.address), post(100))
						if assert.NoError(t, err) && !response.Reused {
							first.Add(1)
						}
					}
				})
			}
			group.Wait()
			accepts := receiver.accepts.Load()
			assert.LessOrEqual(t, first.Load(), accepts-1, "one first request for each connection at most")
			if http2 {
				assert.EqualValues(t, 1, accepts)
			} else {
				assert.LessOrEqual(t, accepts, int64(65))
			}
			t.Logf("%d handshakes for 64 at a time", accepts)
			pool.Close()
			assert.Eventually(t, func() bool { return receiver.active.Load() == 0 && p.open.Load() == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

// TestIdle keeps a connection exactly as long as it should be kept, and not a goroutine or a destination longer: the
// bubble would not end.
func TestIdle(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		idle   time.Duration
	}{
		"by our own bound":    {answer: okay, idle: 55 * time.Second},
		"as told":             {answer: "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 0\r\n\r\n", idle: 4 * time.Second},
		"told more than ours": {answer: "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 0\r\n\r\n", idle: 55 * time.Second},
		"told nonsense":       {answer: "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=-3\r\nContent-Length: 0\r\n\r\n", idle: 55 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				receiver := p.script(p.serverTLS(), answers(tc.answer))
				pool := p.pool()
				for i := range 3 {
					response, err := pool.Do(t.Context(), p.target(receiver.address), post(10))
					require.NoError(t, err)
					require.Equal(t, i > 0, response.Reused)
					pass(tc.idle - time.Second)
				}
				assert.EqualValues(t, 1, p.open.Load())
				pass(2 * time.Second)
				assert.Zero(t, p.open.Load(), "closed when its time is over, not when somebody comes by")
				response, err := pool.Do(t.Context(), p.target(receiver.address), post(10))
				require.NoError(t, err)
				assert.False(t, response.Reused)
			})
		})
	}
}

// TestDestinationIsDown has a thousand waiters and a receiver that lets nobody in.
func TestDestinationIsDown(t *testing.T) {
	for name, tc := range map[string]struct {
		dial func(context.Context, string, string) (net.Conn, error)
		kind mtls.Kind
		most int64
	}{
		"refused after a second": {kind: mtls.ConnectionRefused, most: 12, dial: func(context.Context, string, string) (net.Conn, error) {
			<-time.After(time.Second)
			return nil, syscall.ECONNREFUSED
		}},
		"packets dropped": {kind: mtls.TimedOut, most: 12, dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				var dials, at, most atomic.Int64
				pool := p.pool(func(o *mtls.Options) {
					o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
						dials.Add(1)
						most.Store(max(most.Load(), at.Add(1)))
						defer at.Add(-1)
						return tc.dial(ctx, network, address)
					}
				})
				var group sync.WaitGroup
				for i := range 1000 {
					group.Go(func() {
						<-time.After(time.Duration(i) * 2 * time.Millisecond) // they keep coming for two seconds
						_, err := pool.Do(t.Context(), p.target("192.0.2.9:443"), post(10))
						f := failureOf(t, err)
						assert.Equal(t, tc.kind, f.Kind, "%v", err)
					})
				}
				group.Wait()
				assert.LessOrEqual(t, dials.Load(), tc.most)
				assert.LessOrEqual(t, most.Load(), int64(4))
				t.Logf("%d handshakes", dials.Load())
				pass(time.Minute) // the handshakes that still wait
				assert.Zero(t, at.Load())
			})
		})
	}
}

// TestOneHandshakeFails is a receiver that has room for one connection only: those who wait share it, and nobody fails.
func TestOneHandshakeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		receiver := p.script(p.serverTLS(), func(l *line) {
			for {
				if _, _, ok := l.request(); !ok {
					return
				}
				<-time.After(time.Second)
				l.say(okay)
			}
		})
		var dials atomic.Int64
		pool := p.pool(func(o *mtls.Options) {
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) > 1 {
					return nil, syscall.ECONNREFUSED
				}
				<-time.After(time.Second) // the others have failed by then
				return p.dial(ctx, network, address)
			}
		})
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				_, err := pool.Do(t.Context(), p.target(receiver.address), post(10))
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.EqualValues(t, 1, receiver.accepts.Load())
	})
}

// TestWaitersLeave cancels every second waiter at the very moment at which connections come free.
func TestWaitersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		receiver := p.script(p.serverTLS(), func(l *line) {
			for {
				if _, _, ok := l.request(); !ok {
					return
				}
				<-time.After(time.Second)
				l.say(okay)
			}
		})
		pool := p.pool(func(o *mtls.Options) { o.ConnectionLimit = 2 })
		var group sync.WaitGroup
		var served atomic.Int64
		for i := range 20 {
			group.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i%2 == 0 {
					time.AfterFunc(3*time.Second, cancel)
				}
				_, err := pool.Do(ctx, p.target(receiver.address), post(10))
				if err == nil {
					served.Add(1)
				} else if assert.Equal(t, 0, i%2, "%v", err) {
					assert.Equal(t, mtls.TimedOut, failureOf(t, err).Kind)
				}
			})
		}
		group.Wait()
		assert.GreaterOrEqual(t, served.Load(), int64(10))
		assert.LessOrEqual(t, p.open.Load(), int64(2))
		pool.Close()
		synctest.Wait()
		assert.Zero(t, p.open.Load())
	})
}

// rotating is a source whose identity can be replaced.
type rotating struct{ now atomic.Pointer[mtls.Identity] }

func (r *rotating) Identity() (*mtls.Identity, error) { return r.now.Load(), nil }

// TestRotationUnderLoad replaces the identity again and again while requests are under way: whoever began afterwards is
// never seen under an identity from before, and the old connections go.
func TestRotationUnderLoad(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2 %t", http2), func(t *testing.T) {
			p := newPeers(t, true)
			const generations = 8
			number := make(map[string]int64, generations)
			identities := make([]*mtls.Identity, generations)
			for i := range identities {
				identities[i] = clientPair(t, p.clientCA, fmt.Sprintf("generation %d", i)).identity(t, "default")
				number[identities[i].Leaf().Subject.CommonName] = int64(i)
			}
			receiver := p.website(p.serverTLS(), func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Seen", r.TLS.PeerCertificates[0].Subject.CommonName)
				readAll(w, r)
			}, http2)
			pool := p.pool()
			source := &rotating{}
			source.now.Store(identities[0])
			var current, requests atomic.Int64
			ctx, stop := context.WithCancel(t.Context())
			var group sync.WaitGroup
			target := p.target(receiver.address)
			target.Identity = source
			for range 16 {
				group.Go(func() {
					for ctx.Err() == nil {
						atLeast := current.Load()
						response, err := pool.Do(t.Context(), target, post(2000))
						if !assert.NoError(t, err) { //nolint:testifylint // require must not run outside the goroutine of the test
							return
						}
						assert.GreaterOrEqual(t, number[response.Header.Get("X-Seen")], atLeast)
						requests.Add(1)
					}
				})
			}
			for i, identity := range identities {
				source.now.Store(identity)
				current.Store(int64(i))
				until := requests.Load() + 100
				require.Eventually(t, func() bool { return requests.Load() > until }, 20*time.Second, time.Millisecond)
			}
			stop()
			group.Wait()
			assert.Eventually(t, func() bool { return p.open.Load() <= 16 && receiver.active.Load() <= 16 }, 10*time.Second, time.Millisecond,
				"connections of identities from before")
			pool.Close()
			assert.Eventually(t, func() bool { return receiver.active.Load() == 0 && p.open.Load() == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

// TestSlowRequestDoesNotBringAnOldIdentityBack has read the old identity and comes to the pool after the new one.
func TestSlowRequestDoesNotBringAnOldIdentityBack(t *testing.T) {
	p := newPeers(t, false)
	receiver := p.script(p.serverTLS(), answers(okay))
	next := clientPair(t, p.clientCA, "next").identity(t, "default")
	pool := p.pool()
	source := &rotating{}
	source.now.Store(p.identity)
	target := p.target(receiver.address)
	target.Identity = source
	_, err := pool.Do(soon(t), target, post(10))
	require.NoError(t, err)

	slow := target
	asked := 0
	slow.Identity = sourceFunc(func() (*mtls.Identity, error) {
		asked++
		if asked > 1 {
			return source.Identity()
		}
		source.now.Store(next) // and while this one still holds the old identity, another request brings the new one
		_, err := pool.Do(soon(t), target, post(10))
		require.NoError(t, err)
		return p.identity, nil
	})
	response, err := pool.Do(soon(t), slow, post(10))
	require.NoError(t, err)
	assert.Equal(t, next.Fingerprint(), response.Proof.Client.Fingerprints[0])
	assert.True(t, response.Reused)
	assert.EqualValues(t, 2, receiver.accepts.Load())
	assert.EqualValues(t, 1, p.open.Load())
}

// TestNothingIsShared between terms that differ in anything.
func TestNothingIsShared(t *testing.T) {
	p := newPeers(t, false)
	receiver := p.script(p.serverTLS(func(c *tls.Config) {
		c.Certificates = serverConfig(t, serverPair(t, p.serverCA, receiverName, "other.test")).Certificates
	}), answers(okay))
	pool := p.pool()
	base := p.target(receiver.address)
	other := func(alter func(*mtls.Target)) mtls.Target { t := base; alter(&t); return t }
	targets := []mtls.Target{
		base,
		other(func(to *mtls.Target) { to.ServerName = "other.test" }),
		other(func(to *mtls.Target) { to.Mutual = mtls.Requested }),
		other(func(to *mtls.Target) { to.Trust = trusting(t, p.serverCA, mtls.Pin(p.serverCA.Certificate())) }),
		other(func(to *mtls.Target) {
			to.Identity = mtls.Static(clientPair(t, p.clientCA, "x").identity(t, "another"))
		}),
	}
	for round := range 2 {
		for i, target := range targets {
			response, err := pool.Do(soon(t), target, post(10))
			require.NoError(t, err)
			assert.Equal(t, round > 0, response.Reused, "target %d", i)
		}
	}
	assert.EqualValues(t, len(targets), receiver.accepts.Load())
}

// TestClosedPool still carries what is asked for, and keeps nothing.
func TestClosedPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		receiver := p.script(p.serverTLS(), answers(okay))
		pool := p.pool()
		pool.Close()
		for range 2 {
			response, err := pool.Do(t.Context(), p.target(receiver.address), post(10))
			require.NoError(t, err)
			assert.False(t, response.Reused)
			assert.Zero(t, p.open.Load())
		}
	})
}
