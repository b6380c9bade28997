package alert_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/alert"
)

// A certificate year with three desks on one memory: every alert once, at its instant; what renews in time says nothing.
func TestAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		desks := []*desk{w.desk(nil), w.desk(nil), w.desk(nil)}
		all := func(c alert.Certificate) {
			for _, d := range desks {
				require.NoError(t, d.See(c))
			}
		}
		yearly := certificate(alert.Server, "acme/orders", "yearly", start, 365*day)
		all(yearly)
		all(certificate(alert.Authority, "default", "ca", start, 3650*day))
		all(certificate(alert.Root, "acme/orders", "root", start, 100*day))
		seen := map[string]time.Time{}
		for d := range 400 {
			if d%5 == 0 { // a leaf of 7 days, renewed in time
				leaf := certificate(alert.Identity, "default", "leaf"+start.AddDate(0, 0, d).String(), time.Now(), 7*day)
				leaf.Renews = true
				all(leaf)
			}
			if d%60 == 0 { // a receiver with certificates of 89 days, renewed when 29 are left: late for the first step
				all(certificate(alert.Server, "acme/billing", "short"+start.AddDate(0, 0, d).String(), time.Now(), 89*day))
			}
			if d%37 == 36 { // restarts, one after the other
				i := d / 37 % 3
				desks[i].stop()
				desks[i] = w.desk(nil)
				desks[i].Recall(orders)
			}
			until(start.Add(time.Duration(d+1) * day))
			for _, a := range w.take() {
				key := a.kind + " " + a.subject + " " + a.data["fingerprint"].(string)[:8] + " " + a.data["not_after"].(string) + " " + jsonText(a.data["threshold_seconds"])
				_, twice := seen[key]
				assert.False(t, twice, "%s came twice", key)
				seen[key] = a.at
			}
		}
		for _, d := range desks {
			d.stop()
		}
		check := func(c alert.Certificate, kind alert.Type, threshold time.Duration, at time.Time) {
			t.Helper()
			key := string(kind) + " " + c.Subject + " " + c.Fingerprint[:8] + " " + c.NotAfter.UTC().Format(time.RFC3339) + " " + jsonText(int(threshold/time.Second))
			assert.Equal(t, at.UTC(), seen[key].UTC(), key)
			delete(seen, key)
		}
		root := certificate(alert.Root, "acme/orders", "root", start, 100*day)
		for _, left := range []time.Duration{30 * day, 14 * day, 7 * day, day} {
			check(yearly, alert.ServerCertificateExpiring, left, yearly.NotAfter.Add(-left))
			check(root, alert.RootExpiring, left, root.NotAfter.Add(-left))
		}
		check(yearly, alert.ServerCertificateExpired, 0, yearly.NotAfter.Add(time.Second))
		check(root, alert.RootExpired, 0, root.NotAfter.Add(time.Second))
		for d := 0; d+59 < 400; d += 60 {
			c := certificate(alert.Server, "acme/billing", "short"+start.AddDate(0, 0, d).String(), start.Add(time.Duration(d)*day), 89*day)
			check(c, alert.ServerCertificateExpiring, 30*day, c.NotAfter.Add(-30*day))
		}
		assert.Empty(t, seen, "nothing else was told")
	})
}

// A renewal that fails is told when half the time for it is over, and not before.
func TestAnOverdueRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		leaf := certificate(alert.Identity, "default", "leaf", time.Now(), 6*day)
		leaf.Renews = true
		require.NoError(t, d.See(leaf))
		until(leaf.NotAfter.Add(-day - time.Second))
		assert.Empty(t, w.take())
		until(leaf.NotAfter.Add(time.Minute))
		events := w.take()
		assert.Equal(t, []string{
			"handfast.identity.expiring default", "handfast.identity.expiring default", "handfast.identity.expiring default",
			"handfast.identity.expired default",
		}, kinds(events))
		for i, left := range []time.Duration{day, 12 * time.Hour, 6 * time.Hour, -time.Second} {
			assert.Equal(t, leaf.NotAfter.Add(-left).UTC(), events[i].at.UTC())
		}
		assert.Contains(t, events[0].data["detail"], "renewal is overdue")
	})
}

// Whoever was away over several steps tells the most urgent one, once.
func TestDownOverSeveralSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := certificate(alert.Server, "acme/orders", "a", time.Now(), 365*day)
		d := w.desk(nil)
		require.NoError(t, d.See(c))
		until(c.NotAfter.Add(-30*day + time.Hour))
		assert.Len(t, w.take(), 1)
		d.stop()
		until(c.NotAfter.Add(-6 * day))
		d = w.desk(nil)
		d.Recall(orders) // nothing is delivered in the mean time
		pass(time.Minute)
		events := w.take()
		require.Len(t, events, 1)
		assert.Equal(t, jsonText(int(7*day/time.Second)), jsonText(events[0].data["threshold_seconds"]))
		assert.Equal(t, jsonText(int(6*day/time.Second)), jsonText(events[0].data["left_seconds"]))
		d.stop()
		until(c.NotAfter.Add(40 * day))
		for range 3 {
			d = w.desk(nil)
			require.NoError(t, d.See(c))
			pass(time.Hour)
			d.stop()
		}
		assert.Equal(t, []string{"handfast.endpoint.server_certificate_expired acme/orders"}, kinds(w.take()))
		assert.Zero(t, w.repeats, "what is remembered is not published again")
	})
}

// A receiver changes its certificate an hour before the first step: too early for an alert about the old one.
func TestReplacedJustInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		old := certificate(alert.Server, "acme/orders", "old", time.Now(), 100*day)
		require.NoError(t, d.See(old))
		until(old.NotAfter.Add(-30*day - 2*time.Hour))
		require.NoError(t, d.See(old))
		pass(time.Hour)
		require.NoError(t, d.See(certificate(alert.Server, "acme/orders", "young", time.Now(), 12*day))) // a shorter one
		pass(2 * time.Hour)
		assert.Empty(t, w.take())
		d.Recall(orders)
		restarted := w.desk(nil)
		defer restarted.stop()
		restarted.Recall(orders)
		pass(8 * day)
		for _, a := range w.take() {
			assert.Equal(t, fingerprint("young"), a.data["fingerprint"])
		}
	})
}

// A receiver puts a new certificate on its servers one after the other: the old one is not told about once it is gone,
// and is as long as it is presented.
func TestReplacement(t *testing.T) {
	for name, c := range map[string]struct {
		stillThere bool
		want       int
	}{
		"replaced":        {false, 0},
		"one server left": {true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				one, two := w.desk(nil), w.desk(nil)
				defer one.stop()
				defer two.stop()
				old := certificate(alert.Server, "acme/orders", "old", time.Now(), 100*day)
				young := certificate(alert.Server, "acme/orders", "young", time.Now().Add(60*day), 90*day)
				require.NoError(t, one.See(old))
				require.NoError(t, two.See(old)) // sees nothing more: its partition moves away
				until(young.NotBefore)
				for range 20 { // both are presented for a while
					require.NoError(t, one.See(young))
					require.NoError(t, one.See(old))
					pass(time.Minute)
				}
				for range 12 * 24 {
					require.NoError(t, one.See(young))
					if c.stillThere {
						require.NoError(t, one.See(old))
					}
					pass(time.Hour)
				}
				assert.Len(t, w.take(), c.want)
			})
		})
	}
}

// What is dropped is not told about.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		start := time.Now()
		require.NoError(t, d.See(certificate(alert.Server, "acme/orders", "a", start, 100*day)))
		require.NoError(t, d.See(certificate(alert.Identity, "old", "b", start, 100*day)))
		require.NoError(t, d.SeeRoots(orders, certificate(0, "", "c", start, 100*day), certificate(0, "", "d", start, 100*day)))
		other := orders
		other.Name = "other"
		require.NoError(t, d.SeeRoots(other, certificate(0, "", "c", start, 100*day)))
		d.Outcome(orders, refused, alert.Evidence{})
		pass(time.Second)
		require.NoError(t, d.SeeRoots(other))
		d.Forget(orders)
		d.Retire(alert.Identity, "old")
		pass(200 * day)
		assert.Empty(t, w.take())
		require.NoError(t, d.SeeRoots(orders, certificate(0, "", "c", start, 100*day), certificate(0, "", "e", start, 300*day)))
		pass(time.Second)
		assert.Equal(t, []string{"handfast.trust.root_expired acme/orders"}, kinds(w.take()))
	})
}
