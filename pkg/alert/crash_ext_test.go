package alert_test

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/alert"
)

func rotation(stage alert.Stage, since time.Time) alert.Rotation {
	return alert.Rotation{
		Identity: "default", ID: "r1", From: "default", To: "next", Stage: stage, Since: since,
		Accepted: 5, Refused: 2, Unreachable: 1, Advice: "See who refuses it",
	}
}

// A desk dies between any two operations. Nothing is lost, nothing comes under two ids, and the desk after it finds what
// has been told.
func TestACrashAnywhere(t *testing.T) {
	news := map[string]func(t *testing.T, d *desk, start time.Time){
		"handfast.endpoint.server_certificate_expiring acme/orders": func(t *testing.T, d *desk, start time.Time) {
			t.Helper()
			require.NoError(t, d.See(certificate(alert.Server, "acme/orders", "a", start, 20*day+60*day)))
		},
		"handfast.endpoint.client_certificate_refused acme/orders": func(_ *testing.T, d *desk, _ time.Time) {
			d.Outcome(orders, refused, alert.Evidence{})
		},
		"handfast.rotation.started default": func(t *testing.T, d *desk, start time.Time) {
			t.Helper()
			require.NoError(t, d.Rotated(rotation(alert.Started, start)))
		},
	}
	for want, happen := range news {
		for _, operation := range []string{"read", "write", "publish"} {
			for many := range 3 {
				t.Run(fmt.Sprint(want, " after ", operation, " with ", many, " more"), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						start := time.Now()
						pass(51 * day)
						first := w.desk(nil)
						first.set(func(s *session) { s.dieAfter = operation })
						others := make([]*desk, many)
						for i := range others {
							others[i] = w.desk(nil)
						}
						happen(t, first, start)
						for _, d := range others {
							happen(t, d, start)
						}
						pass(2 * time.Minute)
						first.stop()
						again := w.desk(nil)
						happen(t, again, start)
						pass(2 * time.Minute)
						assert.Equal(t, []string{want}, kinds(w.take()))
						published := again.published
						happen(t, again, start)
						pass(time.Minute)
						assert.Equal(t, published, again.published, "what is remembered is not published again")
						again.stop()
						for _, d := range others {
							d.stop()
						}
					})
				})
			}
		}
	}
}

// A change was told and the desk died before it could remember that. It heals unseen, and comes again weeks later: that
// is other news, under another id.
func TestNewsIsNeverTakenForARepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.desk(nil)
		first.set(func(s *session) { s.dieAfter = "publish" })
		first.Outcome(orders, refused, alert.Evidence{})
		pass(2 * time.Minute)
		first.stop()
		assert.Len(t, w.take(), 1)
		second := w.desk(nil)
		defer second.stop()
		second.Outcome(orders, "delivered", alert.Evidence{})
		pass(20 * day)
		assert.Equal(t, []string{"handfast.endpoint.client_certificate_accepted acme/orders"}, kinds(w.take()))
		second.Outcome(orders, refused, alert.Evidence{})
		pass(2 * time.Minute)
		assert.Equal(t, []string{"handfast.endpoint.client_certificate_refused acme/orders"}, kinds(w.take()))
		assert.Equal(t, 1, w.repeats)
	})
}

// Somebody else writes first: the desk begins again at once, and that is no failure.
func TestARace(t *testing.T) {
	for name, happen := range map[string]func(*desk){
		"certificate.identity.default": func(d *desk) {
			_ = d.See(certificate(alert.Identity, "default", "a", time.Now().Add(-90*day), 100*day))
		},
		"endpoint.acme.orders": func(d *desk) { d.Outcome(orders, refused, alert.Evidence{}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := w.desk(nil)
				defer d.stop()
				d.set(func(s *session) {
					s.rival = func(key string) { w.entries[key] = stored{[]byte(`{"version":1,"condition":"healthy"}`), 7} }
				})
				happen(d)
				pass(time.Minute) // when an endpoint is told
				assert.Len(t, w.take(), 1)
				assert.Greater(t, w.entries[name].revision, uint64(7))
				assert.LessOrEqual(t, d.reads, 5, "and it looks before it tells again")
			})
		})
	}
}

// The memory was lost. What happens then is news, although its number was given before.
func TestALostMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 2 {
			d := w.desk(nil)
			d.Outcome(orders, refused, alert.Evidence{})
			pass(time.Hour)
			d.stop()
			w.entries = map[string]stored{}
		}
		assert.Len(t, w.take(), 2)
		assert.Zero(t, w.repeats)
	})
}

// The broker is away for hours: alerts come when it is back, and meanwhile it is left in peace.
func TestTheBrokerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		d.set(func(s *session) { s.refuse = true })
		start := time.Now()
		for i := range 50 {
			require.NoError(t, d.See(certificate(alert.Identity, fmt.Sprint("identity ", i), strconv.Itoa(i), start.Add(-80*day), 100*day)))
		}
		d.Outcome(orders, refused, alert.Evidence{})
		pass(3 * time.Hour)
		assert.Empty(t, w.take())
		assert.Less(t, d.refused, 3*60+10, "one try a minute, not one for each alert")
		d.set(func(s *session) { s.refuse = false })
		pass(2 * time.Minute)
		assert.Len(t, w.take(), 51)
	})
}

// An entry that cannot be read costs an alert more, never one less.
func TestADamagedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.entries["endpoint.acme.orders"] = stored{[]byte(`{"version":7}`), 3}
		w.entries["certificate.identity.default"] = stored{[]byte(`no JSON`), 9}
		d := w.desk(nil)
		defer d.stop()
		d.Outcome(orders, refused, alert.Evidence{})
		require.NoError(t, d.See(certificate(alert.Identity, "default", "a", time.Now().Add(-90*day), 100*day)))
		pass(2 * time.Minute)
		assert.ElementsMatch(t, []string{"handfast.identity.expiring default", "handfast.endpoint.client_certificate_refused acme/orders"}, kinds(w.take()))
	})
}

func TestRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desks := []*desk{w.desk(nil), w.desk(nil), w.desk(nil)}
		all := func(r alert.Rotation) {
			for _, d := range desks {
				for range 3 {
					require.NoError(t, d.Rotated(r))
				}
			}
			pass(time.Minute)
		}
		start := time.Now()
		all(rotation(alert.Started, start))
		all(rotation(alert.Stalled, start))
		desks[0].stop()
		desks[0] = w.desk(nil)
		all(rotation(alert.Stalled, start))
		assert.Zero(t, desks[0].published, "what is remembered is not published again")
		all(rotation(alert.Stalled, start.Add(day)))
		all(rotation(alert.RolledBack, start))
		again := rotation(alert.Completed, start)
		again.ID = "r2"
		all(again)
		events := w.take()
		assert.Equal(t, []string{
			"handfast.rotation.started default", "handfast.rotation.stalled default", "handfast.rotation.stalled default",
			"handfast.rotation.rolled_back default", "handfast.rotation.completed default",
		}, kinds(events))
		assert.Contains(t, events[1].data["detail"], "3 endpoints have not accepted it")
		for _, d := range desks {
			d.stop()
		}
	})
}

func TestNewsThatIsWrongIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		err := d.Rotated(alert.Rotation{Identity: "a\nb", Refused: -1})
		for _, part := range []string{`identity "a b"`, "id \"\"", "from", "to \"\"", "stage 0", "since is missing", "below zero"} {
			require.ErrorContains(t, err, part)
		}
		err = d.See(alert.Certificate{Kind: alert.Server, Subject: "orders", Fingerprint: "AB"})
		for _, part := range []string{"tenant/name", "64 lower-case hex digits", "no time at all"} {
			require.ErrorContains(t, err, part)
		}
		require.ErrorContains(t, d.See(alert.Certificate{Kind: 9}), "kind 9 is not in the closed list")
		require.ErrorContains(t, d.See(alert.Certificate{Kind: alert.Identity}), "is not a name")
		_, err = alert.New(alert.Config{Deployment: "a b"})
		for _, part := range []string{"deployment", "Memory", "Publisher", "Logger", "MeterProvider"} {
			require.ErrorContains(t, err, part)
		}
	})
}

// What comes from outside cannot make an alert that the stream refuses.
func TestHostileEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		long := string(make([]byte, 100_000)) + "\xff\ufffe"
		party := &alert.Party{Subject: long, Issuer: long, NotAfter: time.Now()}
		for range 1000 {
			party.Names = append(party.Names, long)
			party.Fingerprints = append(party.Fingerprints, fingerprint("x"))
		}
		d.Outcome(orders, "handshake_failed", alert.Evidence{Detail: long, Advice: long, Trace: "zz", Server: party})
		pass(2 * time.Minute)
		events := w.take()
		require.Len(t, events, 1)
		assert.Less(t, len(events[0].text), 20_000)
		assert.NotContains(t, events[0].data, "trace")
	})
}
