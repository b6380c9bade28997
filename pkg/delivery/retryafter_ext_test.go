package delivery_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/delivery"
)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"":                                0,
		" ":                               0,
		"0":                               0,
		"1":                               time.Second,
		" 120\t":                          2 * time.Minute,
		"007":                             7 * time.Second,
		"86399":                           24*time.Hour - time.Second,
		"86400":                           24 * time.Hour,
		"86401":                           24 * time.Hour,
		"9223372036854775807":             24 * time.Hour,
		"99999999999999999999999999":      24 * time.Hour,
		"-5":                              0,
		"+5":                              0,
		"1.5":                             0,
		"1e3":                             0,
		"5s":                              0,
		"٣":                               0,
		"Tue, 24 Nov 2026 09:01:30 GMT":   90 * time.Second,
		"Tuesday, 24-Nov-26 09:01:30 GMT": 90 * time.Second,
		"Tue Nov 24 09:01:30 2026":        90 * time.Second,
		"Tue, 24 Nov 2026 09:00:00 GMT":   0,
		"Tue, 24 Nov 2026 08:59:59 GMT":   0,
		"Thu, 01 Jan 1970 00:00:00 GMT":   0,
		"Wed, 25 Nov 2026 09:00:01 GMT":   24 * time.Hour,
		"Fri, 31 Dec 9999 23:59:59 GMT":   24 * time.Hour,
		"Tue, 24 Nov 2026 10:01:30 CET":   0,
		"2026-11-24T09:01:30Z":            0,
		"tomorrow":                        0,
	} {
		assert.Equal(t, want, delivery.ParseRetryAfter(value, stored()), "%q", value)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "120", "99999999999999999999", "-1", "Tue, 24 Nov 2026 09:01:30 GMT", "Tue, 24 Nov 2026 10:01:30 CET", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := delivery.ParseRetryAfter(value, stored())
		if got < 0 || got > delivery.MaxRetryAfter {
			t.Fatalf("%q gives %s", value, got)
		}
		if got > 0 && got < delivery.MaxRetryAfter {
			// What was understood can be said again as a date, and means the same.
			if again := delivery.ParseRetryAfter(stored().Add(got).Format(http.TimeFormat), stored()); again != got {
				t.Fatalf("%q gives %s, and as a date %s", value, got, again)
			}
		}
	})
}
