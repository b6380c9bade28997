package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
)

func TestMoment(t *testing.T) {
	for text, ago := range map[string]time.Duration{"0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "0d": 0} {
		var m moment
		require.NoError(t, m.UnmarshalText([]byte(text)), text)
		assert.WithinDuration(t, time.Now().Add(-ago), m.Time, 10*time.Second, text)
	}
	for text, want := range map[string]time.Time{
		"2026-01-31":                time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00Z":      time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00+02:00": time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC),
	} {
		var m moment
		require.NoError(t, m.UnmarshalText([]byte(text)), text)
		assert.True(t, want.Equal(m.Time), text)
	}
	for _, text := range []string{"", "d", "-1h", "-1d", "1.5d", "99999d", "5", "yesterday", "2026-02-30"} {
		assert.ErrorContains(t, new(moment).UnmarshalText([]byte(text)), "is not a time; write how long ago", text)
	}
}

func FuzzMoment(f *testing.F) {
	for _, seed := range []string{"1h", "30d", "2026-01-31", "2026-01-31T12:00:00Z", "-d", "9223372036854775807d"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var m moment
		if err := m.UnmarshalText(text); err == nil {
			assert.False(t, m.IsZero() && len(text) > 0 && text[0] != '0', "%q", text)
		}
	})
}

func TestOutcomeName(t *testing.T) {
	var o outcomeName
	require.NoError(t, o.UnmarshalText([]byte("rejected")))
	assert.Equal(t, delivery.Rejected, delivery.Outcome(o))
	require.ErrorContains(t, o.UnmarshalText([]byte("broken")), `"broken" is not an outcome; use one of delivered, rejected, gone,`)
}

func TestPickFlagsContradictThemselves(t *testing.T) {
	var f pickFlags
	require.NoError(t, f.Endpoint.UnmarshalText([]byte("acme/orders")))
	f.Tenant = "acme"
	assert.Empty(t, f.Problems())
	f.Tenant = "beta"
	assert.Len(t, f.Problems(), 1)
	assert.Len(t, pickFlags{Tenant: "Not a tenant"}.Problems(), 1)
	assert.Equal(t, "acme", func() string { f.Tenant = ""; return f.filter().Endpoint.Tenant }())
}

func TestShortAndOrdinal(t *testing.T) {
	for d, want := range map[time.Duration]string{7*time.Millisecond + 381*time.Microsecond: "7.38ms", 1234 * time.Millisecond: "1.23s", 83 * time.Second: "1m23s", 12345 * time.Microsecond: "12ms"} {
		assert.Equal(t, want, short(d))
	}
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 22: "22nd", 111: "111th"} {
		assert.Equal(t, want, ordinal(n))
	}
}
