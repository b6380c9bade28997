package delivery

import (
	"encoding/binary"
	"hash/fnv"
	"strconv"
	"time"
)

// Limits of the retry policy that no endpoint document can change.
const (
	// HoldInterval is the wait between tries of a held delivery once its schedule is used up.
	HoldInterval = time.Hour
	// MaxRetryAfter bounds what a receiver may ask for.
	MaxRetryAfter = 24 * time.Hour
	// jitterShare is the most that jitter adds to a wait; it never makes one shorter, so that Retry-After is kept.
	jitterShare = 0.1
	// signAgainMax bounds the pause between repeated signings of one attempt, which only a wrong clock or an
	// overloaded dispatcher causes.
	signAgainMax = time.Minute
	// lanePause is the first pause of a delivery that found its lane full.
	lanePause = 2 * time.Second
)

// Action is what a service does after an attempt.
type Action uint8

// The actions.
const (
	// Finish: acknowledge, nothing follows.
	Finish Action = iota + 1
	// Schedule: put a record on RETRIES, due at Step.At.
	Schedule
	// Bury: put the whole request into DEADLETTERS.
	Bury
	// Disable: bury, and switch the endpoint off.
	Disable
)

// Step is what comes next for a delivery.
type Step struct {
	Action Action
	// At is when a scheduled try is due.
	At time.Time
	// Attempt and Resigned are the counters of the scheduled try.
	Attempt  int
	Resigned int
	// Hold tells that the attempt that ended does not count on the schedule.
	Hold bool
	// Inline tells that the payload must go with the record: by then the event may have aged out.
	Inline bool
	// Reason tells in words why a delivery is buried.
	Reason string
}

// Policy decides what follows an attempt. It is a value and pure.
type Policy struct {
	// Schedule holds the waits after attempt 1, 2, ….
	Schedule []time.Duration
	// Horizon is how long after Delivery.First the event can surely be read for signing. A try that is set later takes
	// the payload along.
	Horizon time.Duration
}

// Next judges attempt d.Attempt, which ended at now.
func (p Policy) Next(d Delivery, v Verdict, now time.Time) Step {
	switch v.Outcome.Turn() {
	case TurnDone:
		return Step{Action: Finish}
	case TurnDrop:
		return Step{Action: Bury, Reason: v.Detail}
	case TurnDisable:
		return Step{Action: Disable, Reason: v.Detail}
	case TurnSign:
		return p.signAgain(d, v, now)
	case TurnRetry:
		return p.retry(d, v, now)
	case TurnHold:
		return p.hold(d, v, now)
	}
	return p.hold(d, v, now)
}

func (p Policy) signAgain(d Delivery, v Verdict, now time.Time) Step {
	pause := time.Duration(0)
	if v.Outcome == LaneFull {
		pause = lanePause
	}
	if d.Resigned > 0 {
		// 1 s, 2 s, 4 s, …: one signing again is normal, a row of them means that something must change first.
		pause = max(pause, min(signAgainMax, time.Second<<min(d.Resigned-1, 10)))
	}
	at := now.Add(jitter(pause, d.ID, d.Attempt+d.Resigned))
	if room := now.Add(min(v.RetryAfter, HoldInterval)); room.After(at) {
		at = room // a lane that keeps to a rate knows when; without jitter, because it has spread them out itself
	}
	return Step{Action: Schedule, At: at, Attempt: d.Attempt, Resigned: d.Resigned + 1, Inline: p.inline(d, at)}
}

func (p Policy) retry(d Delivery, v Verdict, now time.Time) Step {
	if made := d.Counted(); made > len(p.Schedule) {
		return Step{Action: Bury, Reason: "all " + strconv.Itoa(made) + " attempts are used up; the last one: " + v.Detail}
	}
	at := now.Add(wait(d, v, p.scheduled(d.Counted())))
	return Step{Action: Schedule, At: at, Attempt: d.Attempt + 1, Inline: p.inline(d, at)}
}

// inline reports whether a try at a time must take the payload along.
func (p Policy) inline(d Delivery, at time.Time) bool {
	return d.Inline || at.After(d.First.Add(p.Horizon))
}

// hold waits as the schedule does while it lasts, and then every HoldInterval. It leaves the schedule as it is: when the
// certificate is mended at last, an ordinary failure must not find all attempts used up.
func (p Policy) hold(d Delivery, v Verdict, now time.Time) Step {
	// Not longer than HoldInterval, whatever the schedule says: somebody is mending a certificate and wants to see.
	at := now.Add(wait(d, v, min(p.scheduled(d.Attempt-d.Base), HoldInterval)))
	return Step{Action: Schedule, At: at, Attempt: d.Attempt + 1, Hold: true, Inline: p.inline(d, at)}
}

// scheduled is the wait that the schedule sets after the n-th attempt.
func (p Policy) scheduled(n int) time.Duration {
	if i := n - 1; i >= 0 && i < len(p.Schedule) {
		return p.Schedule[i]
	}
	return HoldInterval
}

// wait is not shorter than what the schedule sets, and not shorter than the receiver asks: a short Retry-After must not
// use up all attempts within seconds.
func wait(d Delivery, v Verdict, scheduled time.Duration) time.Duration {
	return jitter(max(scheduled, min(v.RetryAfter, MaxRetryAfter)), d.ID, d.Attempt)
}

// jitter lengthens a wait by up to jitterShare. It is derived from the delivery, so that retries of many deliveries
// spread out while each one's schedule can be computed and tested to the nanosecond.
func jitter(wait time.Duration, id ID, n int) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], uint64(n)) //nolint:gosec // only spreads
	_, _ = h.Write(count[:])
	// FNV's high bits mix poorly on short input: fold once more (the finaliser of MurmurHash3).
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	share := float64(x>>11) / (1 << 53)
	return wait + time.Duration(float64(wait)*jitterShare*share)
}
