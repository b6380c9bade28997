package scenario

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// believing makes a receiver trust client authorities that may change.
func believing(roots *atomic.Pointer[x509.CertPool]) func(*tls.Config) {
	return func(c *tls.Config) {
		base := c.Clone()
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			own := base.Clone()
			own.ClientCAs = roots.Load()
			return own, nil
		}
	}
}

func roots(all ...identity.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	for _, a := range all {
		p.AddCert(a.Certificate())
	}
	return p
}

// TestRenewalUnderTraffic lets leaves of one hour, the shortest there are, renew under steady traffic.
func TestRenewalUnderTraffic(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Identity = nil
		w.Dispatcher.TendInterval = time.Minute
		w.Create("default", w.Authority("default", 0), oldName, time.Hour)
		ca := w.StoredAuthority("default")
		var trusted atomic.Pointer[x509.CertPool]
		trusted.Store(roots(ca))
		one := w.Guarded("one.example.com", kit.NewDoor(kit.ByAlert, oldName), slowly(time.Second), believing(&trusted), tls12)
		two := w.Guarded("two.example.com", kit.NewDoor(kit.ByAlert, oldName), slowly(time.Second), believing(&trusted))
		w.Apply(one.Document("acme", "one", types("one")))
		w.Apply(two.Document("acme", "two", types("two")))
		w.Start()
		w.StartDispatcher(w.Broker.Option())
		w.Pass(time.Second)
		seen := map[string]bool{}
		traffic := w.Traffic(20*time.Second, "acme", "one", "two") // on the minute, when certificates are renewed, too
		for range 6 * 60 {
			w.Pass(time.Minute)
			leaf := w.StoredIdentity("default").Leaf()
			seen[leaf.SerialNumber.String()] = true
			require.Less(t, time.Since(leaf.NotBefore), 50*time.Minute, "renewed at two thirds of its life")
		}
		assert.InDelta(t, 6*60/42+1, len(seen), 1, "one new certificate each time, although two dispatchers look")
		sent := traffic.Stop()
		w.Pass(5 * time.Second)
		assert.Zero(t, traffic.Arrived(one, two))
		receipts := w.Receipts()
		require.Len(t, receipts, sent)
		used := map[string]bool{}
		for _, got := range receipts {
			require.Equal(t, delivery.Delivered, got.Outcome, got.Detail)
			require.Equal(t, 1, got.Attempt)
			used[got.Proof.Client.Fingerprints[0]] = true
			require.True(t, got.At.Before(got.Proof.Client.NotAfter))
		}
		assert.Len(t, used, len(seen), "each was used")
		for _, told := range w.Alerts() {
			assert.NotEqual(t, "default", told.Subject, "what renews in time is no news: %s", told.Type)
		}
	})
}

// TestRootRotation replaces the authority itself: receivers trust both roots for a while, the identity of the next one
// takes over, and the old root goes.
func TestRootRotation(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Identity = nil
		w.Dispatcher.LeaseTTL = 10 * time.Second
		first, next := w.Authority("default", 0), w.Authority("next-ca", 0)
		w.Create("default", first, oldName, 0)
		w.Create("default-2", next, oldName, 0) // the same name: receivers change nothing but the roots
		w.Become("default", identity.AuthorityRetiring)
		var prompt, late atomic.Pointer[x509.CertPool]
		prompt.Store(roots(first, next))
		late.Store(roots(first))
		yes := w.Guarded("yes.example.com", kit.NewDoor(kit.ByAlert, oldName), slowly(5*time.Millisecond), believing(&prompt))
		slow := w.Guarded("late.example.com", kit.NewDoor(kit.ByAlert, oldName), slowly(5*time.Millisecond), believing(&late), tls12)
		w.Apply(yes.Document("acme", "yes", types("yes")))
		w.Apply(slow.Document("acme", "late", types("late")))
		w.Start()
		for range 2 {
			w.StartDispatcher(w.Broker.Option())
		}
		w.Pass(time.Second)
		traffic := w.Traffic(250*time.Millisecond, "acme", "yes", "late")
		w.Rotate("default", "default-2")
		w.Pass(15 * time.Second)
		assert.Equal(t, map[rotation.Stage]int{rotation.Accepted: 1, rotation.Refused: 1}, w.Stages("default"))
		status := w.Statuses("default")[endpoint.Key{Tenant: "acme", Name: "late"}]
		assert.Equal(t, rotation.Said, status.Basis, "an alert is a word")
		late.Store(roots(first, next))
		w.Pass(2 * time.Minute)
		assert.Equal(t, "default-2", w.Assignment("default").Uses)
		// The old root goes: from the receivers, and for good.
		prompt.Store(roots(next))
		late.Store(roots(next))
		w.Become("default", identity.AuthorityRetired)
		yes.Drop()
		slow.Drop()
		w.Pass(5 * time.Second)
		traffic.Stop()
		w.Pass(2 * time.Minute)
		traffic.Arrived(yes, slow)
		refused := 0
		for _, got := range w.Receipts() {
			if got.Proof != nil && got.Outcome.Hold() {
				refused++
			}
		}
		assert.Zero(t, refused)
		last := w.Receipts()[len(w.Receipts())-1]
		assert.Contains(t, last.Proof.Client.Issuer, "next-ca")
		assert.Zero(t, w.Count(stream.DeadLetters))
	})
}

// TestFileSwapUnderTraffic replaces the two files of an identity while deliveries are under way, first one, then the
// other, as tools do that know nothing of us.
func TestFileSwapUnderTraffic(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		dir := t.TempDir()
		file := func(name string) string { return filepath.Join(dir, name) }
		issue := func(uri string) (certificate, key []byte) {
			certificate, key, err := w.ClientCA.Issue(authority.Leaf{URIs: kit.URIs(uri), Client: true})
			require.NoError(t, err)
			return certificate, key
		}
		write := func(name string, content []byte) {
			require.NoError(t, os.WriteFile(file(name), content, 0o600))
		}
		certificate, key := issue(oldName)
		write("crt", certificate)
		write("key", key)
		source, err := mtls.WatchFiles("default", file("crt"), file("key"), mtls.FileOptions{})
		require.NoError(t, err)
		go source.Run(t.Context())
		w.Identity = source
		h1 := w.Guarded("one.example.com", kit.NewDoor(kit.ByAlert, oldName, newName), slowly(20*time.Millisecond), http1)
		h2 := w.Guarded("two.example.com", kit.NewDoor(kit.ByAlert, oldName, newName), slowly(20*time.Millisecond))
		w.Apply(h1.Document("acme", "one", types("one")))
		w.Apply(h2.Document("acme", "two", types("two")))
		w.Start()
		w.StartDispatcher(w.Broker.Option())
		w.Pass(time.Second)
		traffic := w.Traffic(25*time.Millisecond, "acme", "one", "two")
		w.Pass(5 * time.Second)
		certificate, key = issue(newName)
		write("crt", certificate)
		w.Pass(5 * time.Second) // half of a pair is no identity: the one before stays
		half := time.Now()
		w.Pass(time.Second)
		assert.Equal(t, []string{oldName}, keys(h1.NamesSince(half)))
		write("key", key)
		w.Pass(2*time.Second + 100*time.Millisecond)
		swapped := time.Now()
		w.Pass(5 * time.Second)
		traffic.Stop()
		w.Pass(time.Second)
		assert.Zero(t, traffic.Arrived(h1, h2))
		for _, h := range []*kit.Receiver{h1, h2} {
			assert.Equal(t, []string{newName}, keys(h.NamesSince(swapped)), "%s: the new one within the interval, and no other", h.Host)
			assert.Positive(t, h.Names()[oldName])
		}
		for _, got := range w.Receipts() {
			require.Equal(t, 1, got.Attempt, got.Detail)
		}
		assert.Len(t, w.Receipts(), len(h1.Hits())+len(h2.Hits()))
	})
}
