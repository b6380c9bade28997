package alert_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/delivery"
)

func jsonText(v any) string {
	return strings.Trim(fmt.Sprint(v), `"`)
}

// Exactly the outcomes that hold an endpoint are conditions; answers of the receiver are health; the rest says nothing.
func TestConditionOfEveryOutcome(t *testing.T) {
	for _, outcome := range delivery.Outcomes() {
		c, ok := alert.ConditionOf(outcome.String())
		switch {
		case outcome.Hold():
			assert.True(t, ok, outcome.String())
			assert.Equal(t, outcome.String(), c.String())
		case outcome == delivery.Gone: // also stands for an endpoint that was deleted here
			assert.False(t, ok)
		case outcome <= delivery.NotAcknowledged:
			assert.True(t, ok, outcome.String())
			assert.Equal(t, alert.Healthy, c)
		default:
			assert.False(t, ok, outcome.String())
		}
	}
	_, ok := alert.ConditionOf("healthy")
	assert.False(t, ok)
}

// A receiver refuses us for twelve days and then heals: two alerts, whoever tries and however often.
func TestHealingOnDayTwelve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desks := []*desk{w.desk(nil), w.desk(nil), w.desk(nil)}
		start := time.Now()
		seen := alert.Evidence{
			Detail: "the receiver refused our certificate", Advice: "Ask it to trust our CA", Trace: "4bf92f3577b34da6a3ce929d0e0e4736",
			Server: &alert.Party{Subject: "CN=r", Issuer: "CN=i", Names: []string{"r"}, NotAfter: start.Add(day), Fingerprints: []string{fingerprint("r")}},
		}
		for hour := range 12 * 24 {
			d := desks[hour/24%3]
			d.Outcome(orders, refused, seen)
			d.Outcome(orders, "timed_out", alert.Evidence{})
			if hour%30 == 0 { // restarts
				desks[hour/24%3].stop()
				desks[hour/24%3] = w.desk(nil)
				desks[hour/24%3].Outcome(orders, refused, seen)
			}
			pass(time.Hour)
		}
		events := w.take()
		require.Equal(t, []string{"handfast.endpoint.client_certificate_refused acme/orders"}, kinds(events))
		assert.Equal(t, start.Add(time.Minute).UTC(), events[0].at.UTC())
		assert.Equal(t, seen.Trace, events[0].data["trace"])
		assert.Equal(t, seen.Advice, events[0].data["advice"])
		assert.Contains(t, string(events[0].text), fingerprint("r"))

		good := time.Now()
		for range 100 {
			desks[1].Outcome(orders, "delivered", alert.Evidence{})
			pass(10 * time.Second)
		}
		events = w.take()
		require.Equal(t, []string{"handfast.endpoint.client_certificate_accepted acme/orders"}, kinds(events))
		assert.Equal(t, good.Add(5*time.Minute).UTC(), events[0].at.UTC())
		assert.Equal(t, start.UTC().Format(time.RFC3339Nano), events[0].data["held_since"])
		assert.Equal(t, good.UTC().Format(time.RFC3339Nano), events[0].data["since"])
		assert.Equal(t, json.Number("2"), events[0].data["change"])
		// A desk that saw the trouble long ago, and one that never saw any, do not begin it again.
		for _, d := range desks {
			d.Outcome(orders, "delivered", alert.Evidence{})
		}
		pass(time.Hour)
		assert.Empty(t, w.take())
		for _, d := range desks {
			d.stop()
		}
	})
}

// attempts is a script: each attempt after so long.
type attempts []struct {
	after   time.Duration
	outcome string
}

func TestHysteresis(t *testing.T) {
	const s = time.Second
	flapping := attempts{}
	for range 200 {
		flapping = append(flapping, attempts{{20 * s, refused}, {20 * s, "delivered"}}...)
	}
	storm := attempts{}
	for range 1000 {
		storm = append(storm, attempts{{s, "handshake_failed"}}...)
	}
	for name, c := range map[string]struct {
		script attempts
		want   []string
	}{
		"only good":            {attempts{{0, "delivered"}, {s, "rejected"}, {s, "unavailable"}}, nil},
		"one blip":             {attempts{{0, "delivered"}, {s, refused}, {5 * s, "delivered"}}, nil},
		"two blips":            {attempts{{0, refused}, {5 * s, "delivered"}, {30 * s, refused}, {5 * s, "delivered"}}, nil},
		"blips far apart":      {attempts{{0, refused}, {5 * s, "delivered"}, {600 * s, refused}, {5 * s, "delivered"}, {600 * s, refused}, {s, "delivered"}}, nil},
		"one and nothing more": {attempts{{0, refused}}, []string{"refused"}},
		"network is no news":   {attempts{{0, "timed_out"}, {s, "connection_lost"}, {s, "lane_full"}}, nil},
		"a storm":              {storm, []string{"held handshake_failed"}},
		"flapping":             {flapping, []string{"refused", "accepted"}}, // healed when the script is over
		"back at once":         {attempts{{0, refused}, {120 * s, "delivered"}, {240 * s, refused}, {600 * s, refused}}, []string{"refused"}},
		"healed and again": {
			attempts{{0, refused}, {120 * s, "delivered"}, {600 * s, refused}, {600 * s, "delivered"}},
			[]string{"refused", "accepted", "refused", "accepted"},
		},
		"another trouble": {
			attempts{{0, refused}, {120 * s, "server_certificate_untrusted"}, {120 * s, "no_identity"}, {120 * s, "delivered"}},
			[]string{"refused", "held server_certificate_untrusted", "held no_identity", "accepted", "healed no_identity"},
		},
		"trouble that changes its face": {
			attempts{{0, refused}, {120 * s, "handshake_failed"}, {10 * s, refused}, {10 * s, "handshake_failed"}, {10 * s, refused}},
			[]string{"refused"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d := w.desk(nil)
				defer d.stop()
				for _, a := range c.script {
					pass(a.after)
					d.Outcome(orders, a.outcome, alert.Evidence{})
				}
				pass(time.Hour)
				var got []string
				for _, a := range w.take() {
					short := a.kind[strings.LastIndexAny(a.kind, "._")+1:] // refused, accepted, held or healed
					if a.data["outcome"] != refused {
						short += " " + a.data["outcome"].(string)
					}
					got = append(got, short)
				}
				assert.Equal(t, c.want, got)
			})
		})
	}
}

// A partition moves to another dispatcher and back. What the first one saw before is out of date.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.desk(nil), w.desk(nil)
		defer a.stop()
		defer b.stop()
		several := func(d *desk, outcome string, times int) {
			for range times {
				d.Outcome(orders, outcome, alert.Evidence{})
				pass(time.Minute)
			}
		}
		several(a, refused, 5)
		several(b, "delivered", 10)
		assert.Equal(t, []string{
			"handfast.endpoint.client_certificate_refused acme/orders", "handfast.endpoint.client_certificate_accepted acme/orders",
		}, kinds(w.take()))
		pass(time.Hour) // a looks it up and finds that it is over
		assert.Empty(t, w.take())
		several(b, refused, 5)
		several(a, "delivered", 30)
		assert.Equal(t, []string{
			"handfast.endpoint.client_certificate_refused acme/orders", "handfast.endpoint.client_certificate_accepted acme/orders",
		}, kinds(w.take()))
		several(b, refused, 5) // b has to notice that its refusal of before was healed by a
		pass(20 * time.Minute)
		b.Outcome(orders, refused, alert.Evidence{})
		pass(20 * time.Minute)
		assert.Equal(t, []string{"handfast.endpoint.client_certificate_refused acme/orders"}, kinds(w.take()))
	})
}

// Thousands of attempts cost no more than a few reads.
func TestReadsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		c := certificate(alert.Server, "acme/orders", "a", time.Now(), 100*day)
		for range 60 * 60 {
			d.Outcome(orders, "delivered", alert.Evidence{})
			require.NoError(t, d.See(c))
			pass(time.Second)
		}
		assert.LessOrEqual(t, d.reads, 8)
		pass(time.Hour)
		assert.LessOrEqual(t, d.reads, 9, "an endpoint without attempts costs nothing")
	})
}
