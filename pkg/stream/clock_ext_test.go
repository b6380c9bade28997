package stream_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// telling is a broker whose clock is off, and which may be away.
type telling struct {
	off  time.Duration
	away error
}

func (t telling) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return &jetstream.StreamInfo{TimeStamp: time.Now().Add(t.off).UTC()}, t.away
}

// TestSchedulesAreWrittenByTheBrokersClock: a wait stays as long as it is, however far the clocks are apart.
func TestSchedulesAreWrittenByTheBrokersClock(t *testing.T) {
	for name, story := range map[string]struct {
		off    time.Duration
		known  time.Duration // how far the broker's clock is taken to be off
		warned bool
	}{
		"the same":                    {},
		"as far as the way":           {off: 300 * time.Millisecond},
		"some seconds":                {off: 3 * time.Second, known: 3 * time.Second},
		"the broker is hours ahead":   {off: 3 * time.Hour, known: 3 * time.Hour, warned: true},
		"this machine is years ahead": {off: -2 * 365 * 24 * time.Hour, known: -2 * 365 * 24 * time.Hour, warned: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				var clock stream.Clock
				require.NoError(t, clock.Look(t.Context(), telling{off: story.off}, slog.New(slog.NewTextHandler(&log, nil))))
				<-time.After(10 * time.Minute) // it goes on by itself
				due := time.Now().Add(5 * time.Minute)
				assert.Equal(t, due.Add(story.known).UTC(), clock.At(due).UTC())
				assert.Equal(t, -story.off, clock.Ahead())
				assert.Equal(t, story.warned, bytes.Contains(log.Bytes(), []byte("set both by NTP")))
			})
		})
	}
}

// TestABrokerThatIsAwayTellsNoTime keeps what was known before.
func TestABrokerThatIsAwayTellsNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock stream.Clock
		due := time.Now().Add(time.Minute)
		assert.Equal(t, due, clock.At(due), "nothing is known yet")
		require.NoError(t, clock.Look(t.Context(), telling{off: time.Hour}, quiet()))
		gone := errors.New("gone")
		require.ErrorIs(t, clock.Look(t.Context(), telling{away: gone}, quiet()), gone)
		assert.Equal(t, due.Add(time.Hour).UTC(), clock.At(due).UTC())
	})
}
