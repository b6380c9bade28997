package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestShortTimes(t *testing.T) {
	now := time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)
	for cell, want := range map[string]string{
		"2026-11-24T19:25:55Z": "11-24 19:25:55", "2026-01-01T00:00:00+01:00": "2025-12-31 23:00", "2025-11-24T19:25:55Z": "2025-11-24 19:25", "-": "-", "": "",
	} {
		assert.Equal(t, want, shortStamp(now)(cell), cell)
	}
	for after, want := range map[time.Duration]string{
		-time.Second: "due", 0: "due", time.Second: "in 1s", 2*time.Minute - time.Second: "in 119s", 2 * time.Minute: "in 2m", 31 * time.Minute: "in 31m",
		90*time.Minute + time.Second: "in 91m", 5 * time.Hour: "in 5h", 47*time.Hour + time.Minute: "in 48h", 72 * time.Hour: "in 3d", 73 * time.Hour: "in 4d",
	} {
		assert.Equal(t, want, shortAhead(now)(stamp(now.Add(after))), after)
	}
	assert.Empty(t, shortAhead(now)(""))
}
