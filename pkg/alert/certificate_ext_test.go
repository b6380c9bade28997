package alert_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/alert"
)

// The whole schedule, by lifetime.
func TestSteps(t *testing.T) {
	const h = time.Hour
	for name, c := range map[string]struct {
		life   time.Duration
		renews bool
		want   map[alert.Step]time.Duration // before the end
	}{
		"a year":           {365 * day, false, map[alert.Step]time.Duration{1: 30 * day, 2: 14 * day, 3: 7 * day, 4: day}},
		"a year, renews":   {365 * day, true, map[alert.Step]time.Duration{1: 30 * day, 2: 14 * day, 3: 7 * day, 4: day}},
		"90 days":          {90 * day, false, map[alert.Step]time.Duration{1: 30 * day, 2: 14 * day, 3: 7 * day, 4: day}},
		"90 days, renews":  {90 * day, true, map[alert.Step]time.Duration{2: 14 * day, 3: 7 * day, 4: day}},
		"46 days":          {46 * day, false, map[alert.Step]time.Duration{1: 30 * day, 2: 14 * day, 3: 7 * day, 4: day}},
		"45 days":          {45 * day, false, map[alert.Step]time.Duration{1: 15 * day, 2: 180 * h, 3: 90 * h, 4: day}},
		"6 days":           {6 * day, false, map[alert.Step]time.Duration{1: 48 * h, 2: 24 * h, 3: 12 * h, 4: 6 * h}},
		"6 days, renews":   {6 * day, true, map[alert.Step]time.Duration{2: 24 * h, 3: 12 * h, 4: 6 * h}},
		"a day, renews":    {24 * h, true, map[alert.Step]time.Duration{2: 4 * h, 3: 2 * h, 4: h}},
		"an hour":          {h, false, map[alert.Step]time.Duration{1: 20 * time.Minute, 2: 10 * time.Minute, 3: 5 * time.Minute, 4: 150 * time.Second}},
		"60 years, renews": {60 * 365 * day, true, map[alert.Step]time.Duration{1: 30 * day, 2: 14 * day, 3: 7 * day, 4: day}},
	} {
		t.Run(name, func(t *testing.T) {
			from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			cert := certificate(alert.Identity, "default", name, from, c.life)
			cert.Renews = c.renews
			got := map[alert.Step]time.Duration{}
			var before time.Time
			for _, s := range cert.Steps() {
				assert.True(t, s.At.After(before), "steps are in order")
				before = s.At
				if s.Step == alert.Expired {
					assert.Equal(t, cert.NotAfter.Add(time.Second), s.At)
					continue
				}
				got[s.Step] = s.Left
				assert.Equal(t, cert.NotAfter.Add(-s.Left), s.At)

				due, ok := cert.Due(s.At)
				assert.True(t, ok)
				assert.Equal(t, s, due, "at its instant")
				early, _ := cert.Due(s.At.Add(-1))
				assert.Less(t, early.Step, s.Step, "and not before")
				next, ok := cert.Next(s.At.Add(-1))
				assert.True(t, ok)
				assert.Equal(t, s, next)
			}
			assert.Equal(t, c.want, got)
			_, ok := cert.Due(from)
			assert.False(t, ok, "no certificate is born into an alert")
			_, ok = cert.Next(cert.NotAfter.Add(time.Second))
			assert.False(t, ok)
		})
	}
}
