package mtls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// memoryHost serves one list in memory, on virtual time. Its address in a certificate is http:// and address.
type memoryHost struct {
	address string
	mu      sync.Mutex
	list    []byte // nil: no answer at all
	status  int
	fetches atomic.Int64
}

func (p *peers) memoryHost(tb testing.TB) *memoryHost {
	tb.Helper()
	l, address := p.listen()
	h := &memoryHost{address: address, status: http.StatusOK}
	server := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.fetches.Add(1)
		h.mu.Lock()
		list, status := h.list, h.status
		h.mu.Unlock()
		if list == nil {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(list)
	})}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l) })
	tb.Cleanup(func() { _ = server.Close(); served.Wait() })
	return h
}

func (h *memoryHost) serve(status int, list []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status, h.list = status, list
}

func (p *peers) checked(root *issuer, certificate tls.Certificate, policy mtls.RevocationPolicy, proto ...string) mtls.Target {
	p.tb.Helper()
	config := p.serverTLS(func(c *tls.Config) { c.Certificates, c.NextProtos = []tls.Certificate{certificate}, proto })
	var target mtls.Target
	if slices.Contains(proto, "h2") {
		target = p.target(p.website(config, readAll, true).address)
	} else { // net/http does not keep a connection of package pipe
		target = p.target(p.script(config, func(l *line) {
			for _, _, ok := l.request(); ok; _, _, ok = l.request() {
				l.say(okay)
			}
		}).address)
	}
	target.Trust = newTestTrust(p.tb, []*x509.Certificate{root.certificate}).WithRevocation(policy)
	return target
}

// TestSlowCRLHost: a host that does not answer costs its own certificates 5 s, once a minute, and nobody else anything.
func TestSlowCRLHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		slow, quick := p.memoryHost(t), p.memoryHost(t)
		root := newIssuer(t, "root", nil)
		quick.serve(http.StatusOK, root.crl(nil))
		certificate := root.server(nil, "http://"+slow.address)
		soft, hard := p.checked(root, certificate, mtls.RevocationSoft, "h2"), p.checked(root, certificate, mtls.RevocationHard)
		other := p.checked(root, root.server(nil, "http://"+quick.address), mtls.RevocationHard)
		pool := p.pool()
		var done sync.WaitGroup
		took := func(target mtls.Target, check func(*mtls.Response, error), want time.Duration) {
			done.Go(func() {
				began := time.Now()
				check(pool.Do(t.Context(), target, post(10)))
				assert.Equal(t, want, time.Since(began).Truncate(time.Second), target.Authority)
			})
		}
		accepted := func(r *mtls.Response, err error) {
			if assert.NoError(t, err) {
				assert.Contains(t, r.Proof.Revocation, "did not answer")
			}
		}
		refused := func(_ *mtls.Response, err error) { assert.ErrorContains(t, err, "did not answer") }
		took(soft, accepted, 5*time.Second)
		took(hard, refused, 5*time.Second)
		took(other, func(_ *mtls.Response, err error) { assert.NoError(t, err) }, 0)
		done.Wait()
		assert.EqualValues(t, 1, slow.fetches.Load(), "everybody waits for one fetch")

		took(hard, refused, 0) // remembered
		done.Wait()
		<-time.After(time.Minute)
		slow.serve(http.StatusOK, root.crl(nil))
		took(hard, func(_ *mtls.Response, err error) { assert.NoError(t, err) }, 0)
		done.Wait()
		assert.EqualValues(t, 2, slow.fetches.Load())
	})
}

// TestCheckLeavesTimeForTheRest: where a handshake has little time, a soft check takes half of what is left.
func TestCheckLeavesTimeForTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		slow := p.memoryHost(t)
		root := newIssuer(t, "root", nil)
		target := p.checked(root, root.server(nil, "http://"+slow.address), mtls.RevocationSoft, "h2")
		pool := p.pool(func(o *mtls.Options) { o.HandshakeTimeout = 2 * time.Second })
		began := time.Now()
		_, err := pool.Do(t.Context(), target, post(10))
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began))
		<-time.After(5 * time.Second) // the fetch that nobody waits for any more ends by itself
	})
}

// TestSlowSourcesShareTheTime: the second source of a certificate gets its turn.
func TestSlowSourcesShareTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		slow, quick := p.memoryHost(t), p.memoryHost(t)
		root := newIssuer(t, "root", nil)
		quick.serve(http.StatusOK, root.crl(nil))
		certificate := root.server(nil, "http://"+slow.address, "http://"+quick.address)
		finding, err := mtls.NewRevocation(p.dial).Check(t.Context(), [][]*x509.Certificate{{certificate.Leaf, root.certificate}}, nil, mtls.RevocationHard)
		require.NoError(t, err)
		assert.Equal(t, "good (crl)", finding.String())
		<-time.After(5 * time.Second) // the fetch that nobody waits for any more ends by itself
	})
}

// TestListsAreRemembered follows one list through its life.
func TestListsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		host := p.memoryHost(t)
		root := newIssuer(t, "root", nil)
		leaf := root.server(nil, "http://"+host.address).Leaf
		checker := mtls.NewRevocation(p.dial)
		check := func() mtls.Finding {
			finding, _ := checker.Check(t.Context(), [][]*x509.Certificate{{leaf, root.certificate}}, nil, mtls.RevocationHard)
			return finding
		}
		first, good := root.crl(nil), mtls.Finding{Status: mtls.RevocationGood, Detail: "crl"}
		host.serve(http.StatusOK, first)
		for range 3 {
			assert.Equal(t, good, check())
		}
		assert.EqualValues(t, 1, host.fetches.Load())

		<-time.After(time.Hour)
		host.serve(http.StatusInternalServerError, []byte("x"))
		assert.Equal(t, good, check(), "it counts for a day")
		assert.EqualValues(t, 2, host.fetches.Load(), "and is fetched again after an hour")
		check()
		assert.EqualValues(t, 2, host.fetches.Load(), "but not at once after a failure")

		<-time.After(time.Minute)
		host.serve(http.StatusOK, root.crl(nil, leaf))
		assert.Equal(t, mtls.Revoked, check().Status)
		<-time.After(time.Hour)
		host.serve(http.StatusOK, first)
		assert.Equal(t, mtls.Revoked, check().Status, "an older list takes nothing back")
		<-time.After(48 * time.Hour)
		host.serve(http.StatusInternalServerError, []byte("x"))
		assert.Equal(t, mtls.Revoked, check().Status, "neither does time")
	})
}

// TestBusyConnectionsAreCheckedAgain: a receiver whose certificate is revoked loses its connection within about an hour
// and a list's age, however busy it is.
func TestBusyConnectionsAreCheckedAgain(t *testing.T) {
	for _, proto := range []string{"h2", "http/1.1"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				host := p.memoryHost(t)
				root := newIssuer(t, "root", nil)
				host.serve(http.StatusOK, root.crl(nil))
				certificate := root.server(nil, "http://"+host.address)
				checked, unchecked := p.checked(root, certificate, mtls.RevocationSoft, proto), p.checked(root, certificate, mtls.RevocationIgnore, proto)
				pool := p.pool()
				do := func(target mtls.Target) (*mtls.Response, error) { return pool.Do(t.Context(), target, post(10)) }
				_, err := do(checked)
				require.NoError(t, err)
				host.serve(http.StatusOK, root.crl(nil, certificate.Leaf))
				var refusedAfter time.Duration
				for began := time.Now(); time.Since(began) < 3*time.Hour; <-time.After(30 * time.Second) {
					r, err := do(unchecked)
					require.NoError(t, err)
					require.Equal(t, time.Since(began) > 0, r.Reused, "nobody asks, so one connection is enough")
					if _, err = do(checked); err != nil {
						assert.Equal(t, mtls.ServerCertificateRevoked, failureOf(t, err).Kind)
						refusedAfter = time.Since(began)
						break
					}
				}
				assert.Greater(t, refusedAfter, time.Duration(0))
				assert.LessOrEqual(t, refusedAfter, 2*time.Hour+time.Minute)
				assert.LessOrEqual(t, p.open.Load(), int64(2), "the old connection is gone, and that to the host of the list")
			})
		})
	}
}

// TestCheckEndsWithItsContext: and what goes on behind it ends, too.
func TestCheckEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newIssuer(t, "root", nil)
		leaf := root.server(nil, "http://192.0.2.1/").Leaf
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var ended atomic.Bool
		_, err := mtls.NewRevocation(func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			ended.Store(true)
			return nil, ctx.Err()
		}).Check(ctx, [][]*x509.Certificate{{leaf, root.certificate}}, nil, mtls.RevocationHard)
		require.ErrorContains(t, err, "did not answer")
		<-time.After(5 * time.Second)
		synctest.Wait()
		assert.True(t, ended.Load())
	})
}
