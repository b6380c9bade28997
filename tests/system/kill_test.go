package system

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

const (
	dispatchers = 3
	signers     = 2
	events      = 20_000
	// eventRate is how many events a second are published, so that all the kills fall into the work.
	eventRate = 1100
	// between is the time from one kill to the next, and down how long a service stays away. What a killed process
	// held comes back after AckWait (a minute), so the kills have to be over early.
	between = 2 * time.Second
	down    = time.Second
	// planned is how long the story may take on a machine that keeps up, most how long it is given on one that does not.
	planned = 2 * time.Minute
	most    = 3 * time.Minute
)

// TestKill is the promise of Handfast: kill what you like, whenever you like; every event that was acknowledged arrives
// at every endpoint that wants it, and a repetition can be told by its webhook-id.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	l := newLedger()
	s := install(t)
	h := openHooks(t, s.ca, l)
	s.setUp(h)
	s.startServices()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	published := make(chan error, 1)
	go func() { published <- s.publish(ctx, l) }()
	s.until(ctx, "the services work", func() bool { _, came, _ := l.counts(); return came >= endpoints })
	kills := s.killInTurn(ctx, l)
	require.NoError(t, <-published)
	polls := 0
	s.until(ctx, "every event has arrived and nothing is under way", func() bool {
		polls++
		if polls%20 == 0 {
			s.progress(l)
			s.t.Log(s.remains(ctx))
		}
		_, came, _ := l.counts()
		return came >= events && s.idle(ctx)
	})
	s.progress(l)
	for _, p := range s.services() {
		p.alive()
	}
	judge(t, s, l, kills)
}

// kill is one SIGKILL.
type kill struct {
	at     time.Time
	victim string
	// underWay is how many messages had been handed out and not acknowledged, or, for the broker, may have been: no
	// others can come again because of this kill.
	underWay int
}

// judge compares the two sides of the ledger.
func judge(t *testing.T, s *installation, l *ledger, kills []kill) {
	t.Helper()
	acked, deliveries, requests := l.counts()
	assert.Equal(t, events, acked)
	assert.Empty(t, l.missing(), "every event that was acknowledged arrives")
	assert.Equal(t, events, deliveries, "nothing arrives that was not published")
	assert.Empty(t, l.complaints(), "every signature verifies, and one delivery has one webhook-id")
	firsts, extra := l.repeated()
	bound := 0
	for i, k := range kills {
		bound += k.underWay
		repeats := 0
		for _, first := range firsts {
			if first.Before(k.at) && (i == 0 || !first.Before(kills[i-1].at)) {
				repeats++
			}
		}
		t.Logf("%-13s killed at %4.1f s: %4d messages under way, %3d requests from before it came again", k.victim, k.at.Sub(s.began).Seconds(), k.underWay, repeats)
	}
	assert.LessOrEqual(t, extra, bound, "only what was under way at a kill comes again")
	assert.Zero(t, s.messages(stream.DeadLetters), "nothing is given up")
	assert.Zero(t, s.messages(stream.Retries), "nothing waits")
	// The broker writes down that a message is acknowledged and that it is gone at two moments; a kill between them
	// leaves it in the stream with nobody to hand it to.
	forgotten := s.messages(stream.Deliveries)
	assert.LessOrEqual(t, forgotten, bound, "messages that are done and still in DELIVERIES")
	t.Logf("%d events acknowledged, %d deliveries, %d requests: %d repeated (bound %d), %d missing, %d done but left in DELIVERIES, after %d kills, in %.0f s",
		acked, deliveries, requests, extra, bound, len(l.missing()), forgotten, len(kills), time.Since(s.began).Seconds())
}

// killInTurn kills and restarts everything once and more, while events flow.
func (s *installation) killInTurn(ctx context.Context, l *ledger) []kill {
	s.t.Helper()
	victims := []*process{
		s.dispatchers[0], s.signers[0], s.nats, s.dispatchers[1], s.signers[1], s.dispatchers[2], s.nats, s.dispatchers[0],
	}
	tick := time.NewTicker(between)
	defer tick.Stop()
	kills := make([]kill, 0, len(victims))
	for _, victim := range victims {
		s.progress(l)
		victim.alive()
		k := kill{at: time.Now(), victim: victim.name}
		victim.kill()
		if victim == s.nats {
			victim.start()
			k.underWay = s.survived(ctx)
		} else {
			k.underWay = s.handedOut(ctx)
			s.pass(ctx, down)
			victim.start()
		}
		kills = append(kills, k)
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.NoError(s.t, ctx.Err())
		}
	}
	return kills
}

// progress says how far everything is.
func (s *installation) progress(l *ledger) {
	s.t.Helper()
	acked, came, requests := l.counts()
	s.t.Logf("%5.1f s: %5d events acknowledged, %5d deliveries arrived, %d requests", time.Since(s.began).Seconds(), acked, came, requests)
}

// The plan must leave room: for the last kill, for AckWait, and for building, starting and a moment of work.
func TestKillFits(t *testing.T) {
	last := 8*between + down
	assert.Less(t, last+stream.AckWait+30*time.Second, planned)
	assert.Greater(t, time.Duration(events/eventRate)*time.Second, last, "events flow until the last kill")
}
