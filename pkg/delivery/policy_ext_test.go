package delivery_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
)

const horizon = 144 * time.Hour

func stored() time.Time { return time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC) }

// fixed is one delivery, so that its jitter is always the same.
func fixed() delivery.Delivery {
	key := endpoint.Key{Tenant: "acme", Name: "orders"}
	return delivery.Delivery{ID: delivery.NewID([32]byte{1, 2, 3}, key), Endpoint: key, Event: 7, Attempt: 1, First: stored()}
}

func standard() delivery.Policy {
	return delivery.Policy{Schedule: endpoint.StandardSchedule(), Horizon: horizon}
}

func ended(o delivery.Outcome) delivery.Verdict {
	return delivery.Verdict{Outcome: o, Detail: "it ended"}
}

// follow is the delivery that the record of a step stands for.
func follow(d delivery.Delivery, step delivery.Step, o delivery.Outcome) delivery.Delivery {
	next := delivery.NewRetry(d, step, o, "").Due()
	next.Inline = step.Inline
	return next
}

// TestTheStandardScheduleToTheNanosecond is the schedule as a receiver meets it: every attempt's distance from the first,
// for one delivery whose attempts take no time.
func TestTheStandardScheduleToTheNanosecond(t *testing.T) {
	t.Parallel()
	want := []string{
		"0s", "5.15830565s", "5m31.968139242s", "35m37.416245893s", "2h39m13.847025159s", "7h51m42.356426696s",
		"18h16m58.406042106s", "32h29m51.30484557s", "53h43m47.856674899s", "78h40m5.860889901s",
	}
	d, now := fixed(), stored()
	var got []string
	for {
		got = append(got, now.Sub(stored()).String())
		require.Len(t, got, d.Attempt, "attempts are counted one by one")
		step := standard().Next(d, ended(delivery.Unavailable), now)
		if step.Action == delivery.Bury {
			assert.Equal(t, "all 10 attempts are used up; the last one: it ended", step.Reason)
			break
		}
		require.Equal(t, delivery.Schedule, step.Action)
		require.Empty(t, step.Reason)
		waited := step.At.Sub(now)
		least := endpoint.StandardSchedule()[d.Attempt-1]
		require.GreaterOrEqual(t, waited, least)
		require.Less(t, waited, least+least/10)
		d, now = follow(d, step, delivery.Unavailable), step.At
	}
	assert.Equal(t, want, got)
}

// TestTheWholeScheduleOfManyDeliveries bounds the last attempt, and shows that deliveries spread out.
func TestTheWholeScheduleOfManyDeliveries(t *testing.T) {
	t.Parallel()
	const whole = 75*time.Hour + 35*time.Minute + 5*time.Second
	earliest, latest := time.Duration(1<<62), time.Duration(0)
	for i := range 500 {
		d, now := fixed(), stored()
		d.ID = delivery.ID("msg_" + strconv.Itoa(i))
		for range 9 {
			step := standard().Next(d, ended(delivery.TimedOut), now)
			require.Equal(t, delivery.Schedule, step.Action)
			require.False(t, step.Inline, "the standard schedule lies within the horizon")
			d, now = follow(d, step, delivery.TimedOut), step.At
		}
		took := now.Sub(stored())
		require.GreaterOrEqual(t, took, whole)
		require.Less(t, took, whole+whole/10)
		earliest, latest = min(earliest, took), max(latest, took)
	}
	assert.Greater(t, latest-earliest, whole/40, "many deliveries do not come back in the same moment")
}

func TestAHeldDeliveryIsNeverGivenUp(t *testing.T) {
	t.Parallel()
	for _, outcome := range delivery.Outcomes() {
		if !outcome.Hold() {
			continue
		}
		d, now := fixed(), stored()
		for now.Before(stored().Add(30 * 24 * time.Hour)) {
			step := standard().Next(d, ended(outcome), now)
			require.Equal(t, delivery.Schedule, step.Action, "%s at attempt %d", outcome, d.Attempt)
			require.True(t, step.Hold)
			least := delivery.HoldInterval
			if d.Attempt <= 9 {
				least = min(least, endpoint.StandardSchedule()[d.Attempt-1])
			}
			require.GreaterOrEqual(t, step.At.Sub(now), least)
			require.Less(t, step.At.Sub(now), least+least/10, "and never longer than an hour")
			require.Equal(t, step.At.After(stored().Add(horizon)), step.Inline, "the payload goes along when EVENTS may have lost it")
			d, now = follow(d, step, outcome), step.At
		}
		assert.Equal(t, 1, d.Counted(), "%s costs nothing of the schedule", outcome)
	}
}

// TestAMendedCertificateFindsTheWholeSchedule is what a hold is for: when the certificate is mended, the first HTTP 503
// must not end the delivery.
func TestAMendedCertificateFindsTheWholeSchedule(t *testing.T) {
	t.Parallel()
	d, now := fixed(), stored()
	for range 20 {
		step := standard().Next(d, ended(delivery.ClientCertificateRefused), now)
		d, now = follow(d, step, delivery.ClientCertificateRefused), step.At
	}
	require.Equal(t, 21, d.Attempt)
	for i := range 9 {
		step := standard().Next(d, ended(delivery.Unavailable), now)
		require.Equal(t, delivery.Schedule, step.Action)
		require.GreaterOrEqual(t, step.At.Sub(now), endpoint.StandardSchedule()[i], "from its first wait on")
		require.Less(t, step.At.Sub(now), endpoint.StandardSchedule()[i]*11/10)
		d, now = follow(d, step, delivery.Unavailable), step.At
	}
	step := standard().Next(d, ended(delivery.Unavailable), now)
	assert.Equal(t, delivery.Bury, step.Action)
	assert.Contains(t, step.Reason, "all 10 attempts are used up")
}

func TestAReplayHasAScheduleOfItsOwn(t *testing.T) {
	t.Parallel()
	d := fixed()
	d.Attempt, d.Base = 11, 10
	step := standard().Next(d, ended(delivery.Unavailable), stored())
	assert.Equal(t, delivery.Schedule, step.Action)
	assert.Equal(t, 12, step.Attempt, "attempts go on being counted")
	assert.Less(t, step.At.Sub(stored()), 6*time.Second, "from the first wait")
	d.Attempt = 20
	step = standard().Next(d, ended(delivery.Unavailable), stored())
	assert.Equal(t, delivery.Bury, step.Action)
	assert.Contains(t, step.Reason, "all 10 attempts are used up")
}

func TestBeyondTheHorizonThePayloadGoesAlong(t *testing.T) {
	t.Parallel()
	policy := delivery.Policy{Schedule: []time.Duration{time.Hour, time.Hour}, Horizon: 2 * time.Hour}
	d := fixed()
	for _, each := range []struct {
		ended  time.Duration
		inline bool
	}{{30 * time.Minute, false}, {time.Hour + time.Second, true}, {3 * time.Hour, true}} {
		for _, outcome := range []delivery.Outcome{delivery.Unavailable, delivery.NoIdentity} {
			step := policy.Next(d, ended(outcome), stored().Add(each.ended))
			assert.Equal(t, delivery.Schedule, step.Action)
			assert.Equal(t, each.inline, step.Inline, "%s at %s", outcome, each.ended)
		}
	}
	d.Inline = true
	assert.True(t, policy.Next(d, ended(delivery.StaleSignature), stored()).Inline, "what travels with its payload goes on doing so")
}

func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	for name, each := range map[string]struct {
		schedule, wish, least time.Duration
	}{
		"longer than the schedule":  {5 * time.Second, time.Minute, time.Minute},
		"shorter than the schedule": {time.Hour, time.Minute, time.Hour},
		"none":                      {5 * time.Second, 0, 5 * time.Second},
		"a negative one":            {5 * time.Second, -time.Hour, 5 * time.Second},
		"a day":                     {5 * time.Second, 24 * time.Hour, 24 * time.Hour},
		"more than a day":           {5 * time.Second, 24*time.Hour + time.Nanosecond, 24 * time.Hour},
		"a schedule of two days":    {48 * time.Hour, time.Hour, 48 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := delivery.Policy{Schedule: []time.Duration{each.schedule}, Horizon: horizon}
			for _, outcome := range []delivery.Outcome{delivery.Throttled, delivery.Unavailable, delivery.ClientCertificateRefused} {
				v := ended(outcome)
				v.RetryAfter = each.wish
				if outcome.Hold() {
					each.least = max(min(each.schedule, delivery.HoldInterval), min(each.wish, delivery.MaxRetryAfter))
				}
				waited := policy.Next(fixed(), v, stored()).At.Sub(stored())
				assert.GreaterOrEqual(t, waited, each.least, "never earlier than was asked")
				assert.Less(t, waited, each.least+each.least/10)
			}
		})
	}
}

// TestSigningAgainBacksOff shows that one signing again is immediate, and a row of them slows down to one a minute.
func TestSigningAgainBacksOff(t *testing.T) {
	t.Parallel()
	d := fixed()
	for resigned, least := range []time.Duration{
		0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second,
		time.Minute, time.Minute, time.Minute, time.Minute, time.Minute, time.Minute,
	} {
		for outcome, floor := range map[delivery.Outcome]time.Duration{delivery.StaleSignature: 0, delivery.LaneFull: 2 * time.Second} {
			d.Resigned = resigned
			step := standard().Next(d, ended(outcome), stored())
			assert.Equal(t, delivery.Schedule, step.Action)
			assert.Equal(t, d.Attempt, step.Attempt, "it costs no attempt")
			assert.Equal(t, resigned+1, step.Resigned)
			assert.False(t, step.Hold)
			expected := max(least, floor)
			assert.GreaterOrEqual(t, step.At.Sub(stored()), expected, "%s, %d times", outcome, resigned)
			assert.LessOrEqual(t, step.At.Sub(stored()), expected+expected/10, "%s, %d times", outcome, resigned)
		}
	}
	d.Resigned = 1 << 40
	assert.LessOrEqual(t, standard().Next(d, ended(delivery.StaleSignature), stored()).At.Sub(stored()), 66*time.Second, "however often")
}

func TestTheCountersOfARealAttemptStartAnew(t *testing.T) {
	t.Parallel()
	d := fixed()
	d.Resigned = 5
	assert.Zero(t, standard().Next(d, ended(delivery.Unavailable), stored()).Resigned)
	assert.Zero(t, standard().Next(d, ended(delivery.NoIdentity), stored()).Resigned)
}

func TestThePolicyIsPure(t *testing.T) {
	t.Parallel()
	for _, outcome := range delivery.Outcomes() {
		once, again := standard().Next(fixed(), ended(outcome), stored()), standard().Next(fixed(), ended(outcome), stored())
		assert.Equal(t, once, again)
	}
}

func BenchmarkNext(b *testing.B) {
	d, policy := fixed(), standard()
	b.ReportAllocs()
	for b.Loop() {
		policy.Next(d, delivery.Verdict{Outcome: delivery.Unavailable}, d.First)
	}
}
