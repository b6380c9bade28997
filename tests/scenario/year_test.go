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

// calendar is when Handfast is switched on in a year: the installation is off for most of it, because a virtual hour in
// which it is on costs a tenth of a second. What it must not miss while it is off, it does when it is on again.
func calendar(start time.Time, instants []time.Time) (mornings []time.Time) {
	for d := 0; d < 366; d += 2 {
		mornings = append(mornings, start.Add(time.Duration(d)*day))
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
			Type    alert.Type
			Subject string
			Time    time.Time
			Data    struct {
				Threshold int64 `json:"threshold_seconds"`
			}
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
		w.Apply(ending.Document("acme", "ending", types("com.acme.ending")))
		w.Apply(strict.Document("acme", "strict", types("com.acme.strict")))
		w.Apply(desk.Document(alert.Tenant, "desk", types("handfast.**")))

		var instants []time.Time
		for _, left := range []time.Duration{30 * day, 14 * day, 7 * day, day} {
			instants = append(instants, end.Add(-left))
		}
		leaves := map[string]bool{}
		sent := 0
		for _, morning := range calendar(start, instants) {
			if off := time.Until(morning); off > 0 {
				w.Sleep(off)
			}
			d := int(time.Since(start) / day)
			switch {
			case d >= 112:
				door.Accept(oldName)
			case d >= 100:
				door.Accept()
			}
			w.Start()
			w.Pass(3 * time.Minute)
			if time.Now().Before(end) {
				w.Publish("acme", "com.acme.ending", `{}`)
				sent++
			}
			w.Publish("acme", "com.acme.strict", fmt.Sprintf(`{"day":%d}`, d))
			w.Pass(7 * time.Minute)
			leaf := w.StoredIdentity("default").Leaf()
			leaves[leaf.SerialNumber.String()] = true
			require.Greater(t, time.Until(leaf.NotAfter), 36*time.Hour, "day %d: renewed in time", d)
			if d >= 100 && d < 112 {
				require.Equal(t, (d-100)/2+1, w.Count(stream.Backlog), "day %d: all of them wait", d)
			}
		}
		assert.InDelta(t, 365/6, len(leaves), 2, "renewed at the first opportunity after two thirds of seven days")
		assert.Len(t, ending.Hits(), sent)
		assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.DeadLetters)+w.Count(stream.Retries))
		days := make([]int, 0, len(strict.Hits()))
		for _, hit := range strict.Hits() {
			var e struct{ Data struct{ Day int } }
			require.NoError(t, json.Unmarshal(hit.Body, &e))
			days = append(days, e.Data.Day)
		}
		assert.Len(t, days, len(calendar(start, instants)))
		assert.True(t, slices.IsSorted(days), "in order of age, those of twelve days, too: %v", days)
		year(t, start, end, alerts(t, desk))
	})
}

// year compares what was told with what should have been, to the minute where Handfast was on.
func year(t *testing.T, start, end time.Time, got []told) {
	t.Helper()
	var want []told
	want = append(want,
		told{alert.ClientCertificateRefused, "acme/strict", start.Add(100*day + 3*time.Minute), 0},
		told{alert.ClientCertificateAccepted, "acme/strict", start.Add(112 * day), 0})
	for _, left := range []time.Duration{30 * day, 14 * day, 7 * day, day} {
		want = append(want, told{alert.ServerCertificateExpiring, "acme/ending", end.Add(-left), left})
	}
	want = append(want, told{alert.ServerCertificateExpired, "acme/ending", end, 0})
	for i, each := range got {
		t.Logf("%s %s %s %s", each.at.Sub(start), each.kind, each.subject, each.left)
		if i >= len(want) {
			continue
		}
		assert.Equal(t, want[i].kind, each.kind)
		assert.Equal(t, want[i].subject, each.subject)
		assert.Equal(t, want[i].left, each.left)
		assert.WithinDuration(t, want[i].at, each.at, 4*time.Minute, "%s %s", each.kind, each.left)
	}
	assert.Len(t, got, len(want), "each once, and nothing else")
}
