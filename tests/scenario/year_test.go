package scenario

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

const day = 24 * time.Hour

// every is the time from one morning to the next: long, because a virtual hour in which everything is on costs a tenth of
// a second, and so that nothing ever reaches the age of seven days while the broker is on. The broker measures age by a
// clock that is not the bubble's, and throws everything away at such a moment.
const every = 25 * time.Hour

// calendar is when Handfast is switched on in a year. What is due while it is off, it does when it is on again.
func calendar(start time.Time, instants []time.Time) (mornings []time.Time) {
	for at := start; at.Before(start.Add(366 * day)); at = at.Add(every) {
		mornings = append(mornings, at)
	}
	for _, at := range instants {
		mornings = append(mornings, at.Add(-5*time.Minute)) // up and running when it comes
	}
	slices.SortFunc(mornings, time.Time.Compare)
	return slices.Compact(mornings)
}

// told is an alert as a subscriber has got it.
type told struct {
	kind    alert.Type
	subject string
	at      time.Time
	left    time.Duration
}

// alerts reads what the subscriber to the operational events has got.
func alerts(t *testing.T, r *kit.Receiver) (all []told) {
	t.Helper()
	for _, hit := range r.Hits() {
		var e struct {
			Type    alert.Type `json:"type"`
			Subject string     `json:"subject"`
			Time    time.Time  `json:"time"`
			Data    struct {
				Threshold int64 `json:"threshold_seconds"`
			} `json:"data"`
		}
		require.NoError(t, json.Unmarshal(hit.Body, &e))
		all = append(all, told{e.Type, e.Subject, e.Time, time.Duration(e.Data.Threshold) * time.Second})
	}
	slices.SortStableFunc(all, func(a, b told) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.kind, b.kind)) })
	return all
}

// TestACertificateYear goes through a year with leaves of seven days, a receiver whose certificate ends with the year,
// and a receiver that refuses us from day 100 to day 112.
func TestACertificateYear(t *testing.T) {
	if underRace {
		t.Skip("a year in one bubble brings the race detector itself down (CHECK failed in tsan_rtl.cpp); it runs without it")
	}
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		start := time.Now()
		w.Identity = nil
		w.Dispatcher.TendInterval, w.Signer.TendInterval = time.Minute, time.Minute
		w.Create("default", w.Authority("default", 0), oldName, 0)
		trusted := roots(w.StoredAuthority("default"))
		until := func(notAfter time.Time, host string) func(*tls.Config) {
			own := w.ServerTLSUntil(notAfter, host)
			return func(c *tls.Config) {
				own.ClientCAs, own.VerifyConnection = trusted, c.VerifyConnection
				c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }
			}
		}
		end, forever := start.Add(360*day), start.Add(3000*day)
		ending := w.Receiver("ending.example.com", kit.Answer(200), until(end, "ending.example.com"))
		door := kit.NewDoor(kit.ByAlert, oldName)
		strict := w.Guarded("strict.example.com", door, kit.Answer(200), until(forever, "strict.example.com"))
		desk := w.Receiver("desk.example.com", kit.Answer(200), until(forever, "desk.example.com"))
		w.Apply(ending.Document("acme", "ending", types("com.acme.both")))
		w.Apply(strict.Document("acme", "strict", types("com.acme.both"), limits(1, "10s")))
		w.Apply(desk.Document(alert.Tenant, "desk", types("handfast.**")))

		var instants []time.Time
		for _, left := range []time.Duration{30 * day, 14 * day, 7 * day, day} {
			instants = append(instants, end.Add(-left))
		}
		leaves := map[string]bool{}
		sent, waiting := 0, 0
		for n, morning := range calendar(start, instants) {
			if off := time.Until(morning); off > 0 {
				w.Sleep(off)
			}
			refuses := time.Since(start) >= 100*day && time.Since(start) < 112*day
			door.Accept()
			if !refuses {
				door.Accept(oldName)
			}
			w.Start()
			w.Pass(3 * time.Minute)
			w.Publish("acme", "com.acme.both", fmt.Sprintf(`{"n":%d}`, n))
			sent++
			w.Pass(7 * time.Minute)
			leaf := w.StoredIdentity("default").Leaf()
			leaves[leaf.SerialNumber.String()] = true
			require.Greater(t, time.Until(leaf.NotAfter), 28*time.Hour, "morning %d: renewed in time", n)
			if refuses {
				waiting++
				require.Equal(t, waiting, w.Count(stream.Backlog), "morning %d: all of them wait", n)
			}
			if time.Since(start) > 300*day { // the alerts are seven days apart
				events, err := w.JS.Stream(t.Context(), stream.Events)
				require.NoError(t, err)
				require.NoError(t, events.Purge(t.Context()))
			}
		}
		assert.Equal(t, 12, waiting)
		assert.Len(t, leaves, 366*24/125+1, "renewed on the first morning after two thirds of seven days")
		assert.Equal(t, sent-len(ending.Hits()), w.Count(stream.Backlog), "whose receiver has let its certificate expire")
		assert.Zero(t, w.Count(stream.DeadLetters))
		order := make([]int, 0, sent)
		for _, hit := range strict.Hits() {
			order = append(order, number(t, hit))
		}
		assert.Len(t, order, sent)
		assert.True(t, slices.IsSorted(order), "in order of age, those of twelve days, too: %v", order)
		year(t, start, end, alerts(t, desk))
	})
}

// year compares what was told with what should have been, to the second where Handfast was on.
func year(t *testing.T, start, end time.Time, got []told) {
	t.Helper()
	var want []told
	want = append(want,
		told{alert.ClientCertificateRefused, "acme/strict", start.Add(100*day + 3*time.Minute), 0},
		told{alert.ClientCertificateAccepted, "acme/strict", start.Add(108 * every), 0})
	for _, left := range []time.Duration{30 * day, 14 * day, 7 * day, day} {
		want = append(want, told{alert.ServerCertificateExpiring, "acme/ending", end.Add(-left), left})
	}
	want = append(want, told{alert.ServerCertificateExpired, "acme/ending", start.Add(346 * every), 0}, // off at the instant itself
		told{alert.EndpointHeld, "acme/ending", start.Add(346*every + 3*time.Minute), 0})
	for i, each := range got {
		t.Logf("%s %s %s %s", each.at.Sub(start), each.kind, each.subject, each.left)
		if i >= len(want) {
			continue
		}
		assert.Equal(t, want[i].kind, each.kind)
		assert.Equal(t, want[i].subject, each.subject)
		assert.Equal(t, want[i].left, each.left)
		within := time.Second
		if each.kind == alert.ClientCertificateRefused || each.kind == alert.ClientCertificateAccepted || each.kind == alert.EndpointHeld {
			within = 6 * time.Minute // a change has to last before it is news
		}
		assert.WithinDuration(t, want[i].at, each.at, within, "%s %s", each.kind, each.left)
	}
	assert.Len(t, got, len(want), "each once, and nothing else")
}
