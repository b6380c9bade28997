package receiver

import (
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// times is how often each fault is tried: an outcome that is right most of the time is wrong.
const times = 10

// TestGoReceiver is the part of the suite that needs no program from outside.
func TestGoReceiver(t *testing.T) { conform(t, newWorld(t), goServer()) }

// TestReceivers runs the programs of others.
func TestReceivers(t *testing.T) {
	enabled(t)
	w := newWorld(t)
	for _, l := range listeners() {
		t.Run(l.name, func(t *testing.T) {
			installed(t, l)
			conform(t, w, l)
		})
	}
}

func enabled(t *testing.T) {
	t.Helper()
	if os.Getenv("HANDFAST_E2E") != "receivers" {
		t.Skip("real listeners run with HANDFAST_E2E=receivers (task e2e:receivers)")
	}
}

func installed(t *testing.T, l listener) {
	t.Helper()
	for _, program := range l.needs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not tried: there is no %s on this machine", l.name, program)
		}
	}
}

// conform tries everything on one kind of listener.
func conform(t *testing.T, w *world, l listener) {
	t.Helper()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, protocol := range l.protocols {
			t.Run(tls.VersionName(version)+" "+protocol, func(t *testing.T) {
				on := terms{world: w, version: version, protocol: protocol}
				at := l.start(t, on)
				t.Run(good, func(t *testing.T) {
					acceptedGood(t, on, at)
					foundHealthy(t, on, at)
				})
				for _, identity := range []string{wrongCA, wrongUsage, expired, revoked} {
					t.Run(identity, func(t *testing.T) {
						judged(t, l, on, at, identity)
						together(t, l, on, at, identity)
						examined(t, l, on, at, identity)
					})
				}
				t.Run("wrong server name", func(t *testing.T) {
					misnamed(t, on, at)
					foundMisnamed(t, on, at)
				})
				t.Run("none", func(t *testing.T) {
					unaccompanied(t, l, on, at)
					foundWithout(t, on, at)
				})
				// What was refused in between has spoilt nothing.
				t.Run("good again", func(t *testing.T) { acceptedGood(t, on, at) })
			})
		}
	}
}

// acceptedGood delivers for real, and shows that the counters of this suite count.
func acceptedGood(t *testing.T, on terms, at running) {
	t.Helper()
	s := newSender(t)
	defer s.pool.Close() // s_server serves one connection at a time
	requests, body := at.app.received(t)
	const deliveries = 3
	for n := range deliveries {
		response, failure := s.deliver(t, on.target(at.address, good))
		require.Nil(t, failure, "%v", failure)
		require.Less(t, response.Status, http.StatusMultipleChoices)
		assert.Equal(t, n > 0, response.Reused, "a connection is kept, and reused")
		assert.True(t, response.Proof.Requested)
		assert.Equal(t, tls.VersionName(on.version), response.Proof.Version)
		assert.Equal(t, on.identities[good].Fingerprint(), response.Proof.Client.Fingerprints[0])
		if on.protocol == http2 {
			assert.Equal(t, http2, response.Proof.ALPN)
		} else {
			assert.NotEqual(t, http2, response.Proof.ALPN)
		}
	}
	after, bodyAfter := at.app.received(t)
	want := int64(deliveries)
	if on.protocol == http2 {
		want++ // the request without a body that comes first
	}
	assert.Equal(t, want, after-requests)
	assert.EqualValues(t, deliveries*bodySize, bodyAfter-body)
	assert.Greater(t, s.written.Load(), int64(deliveries*bodySize))
}

// judged presents a bad identity again and again.
func judged(t *testing.T, l listener, on terms, at running, identity string) {
	t.Helper()
	want := l.verdict(identity, on)
	s := newSender(t)
	before, bodyBefore := at.app.received(t)
	for range times {
		response, failure := s.deliver(t, on.target(at.address, identity))
		if want.kind == 0 {
			require.Nil(t, failure, "%v", failure)
			require.Less(t, response.Status, http.StatusMultipleChoices)
			continue
		}
		require.NotNil(t, failure, "%+v", response)
		require.Equal(t, want.kind, failure.Kind, "%v", failure)
		require.Equal(t, want.basis, failure.Basis, "%v", failure)
		require.Contains(t, failure.Detail, want.words)
		require.Contains(t, failure.Detail, identityURI, "whose certificate it is")
		require.NotEmpty(t, failure.Advice)
		require.NotNil(t, failure.Proof)
		require.True(t, failure.Proof.Requested)
		require.Equal(t, identity == wrongCA && failure.Proof.AcceptableCount > 0, failure.Proof.Unlisted != "", failure.Proof.Unlisted)
		require.False(t, failure.BodySent)
		if response == nil {
			require.False(t, failure.Reused)
		}
	}
	requests, body := at.app.received(t)
	if want.kind == 0 {
		accepted := int64(times)
		if on.protocol == http2 {
			accepted++ // likewise
		}
		assert.Equal(t, accepted, requests-before)
		return
	}
	assert.Equal(t, before, requests, "no request may reach the application")
	assert.Equal(t, bodyBefore, body, "no byte of the message may reach the application")
	assert.Less(t, s.written.Load(), int64(times*8<<10), "no byte of the message may leave, not even to the listener")
}

// together presents a bad identity many times at once, as a dispatcher with a full lane does.
func together(t *testing.T, l listener, on terms, at running, identity string) {
	t.Helper()
	want := l.verdict(identity, on)
	if want.kind == 0 {
		return
	}
	s := newSender(t)
	target := on.target(at.address, identity)
	before, _ := at.app.received(t)
	var all sync.WaitGroup
	for range times {
		all.Go(func() {
			_, failure := s.deliver(t, target)
			if assert.NotNil(t, failure) {
				assert.Equal(t, want.kind, failure.Kind, "%v", failure)
				assert.Equal(t, want.basis, failure.Basis, "%v", failure)
				assert.Contains(t, failure.Detail, want.words)
			}
		})
	}
	all.Wait()
	requests, _ := at.app.received(t)
	assert.Equal(t, before, requests, "no request may reach the application")
}

// misnamed wants somebody else than who answers.
func misnamed(t *testing.T, on terms, at running) {
	t.Helper()
	s := newSender(t)
	before, _ := at.app.received(t)
	target := on.target(at.address, good)
	target.ServerName = otherName
	for range times {
		_, failure := s.deliver(t, target)
		require.NotNil(t, failure)
		require.Equal(t, mtls.ServerNameMismatch, failure.Kind, "%v", failure)
		require.Equal(t, mtls.Ours, failure.Basis)
		require.Contains(t, failure.Detail, otherName)
		require.Contains(t, failure.Detail, receiverName, "the names that the certificate has")
		require.False(t, failure.BodySent)
		require.Equal(t, "CN="+receiverName, failure.Proof.Server.Subject)
	}
	requests, _ := at.app.received(t)
	assert.Equal(t, before, requests)
	assert.Less(t, s.written.Load(), int64(times*8<<10))
}
