package dispatcher

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// held is a message that this dispatcher answers for. It owns one slot.
type held struct {
	msg    jetstream.Msg
	signed stream.Signed
	// again counts how often the broker has handed the message out, from 1.
	again uint64
}

const (
	// laneTime is how many seconds of work may wait in a lane: a fast endpoint may queue much, a slow one little, so
	// that slow ones cannot fill the dispatcher.
	laneTime = 2 * time.Second
	// firstLatency is what is assumed of an endpoint before its first answer.
	firstLatency = 50 * time.Millisecond
)

// lanes are the queues of this dispatcher, one per endpoint that has something waiting. A lane goes when it is empty.
type lanes struct {
	most  int   // the dispatcher's slots
	bytes int64 // how much may wait in all lanes together

	mu      sync.Mutex
	open    map[endpoint.Key]*lane
	waiting int64 // bytes of bodies in the queues
	held    int   // messages in all lanes, those under way included
	// quick are endpoints whose lanes have closed, and whose last answer came soon.
	quick map[endpoint.Key]struct{}
}

const (
	// soon is within what time the answer of a receiver comes that does not keep others from being served.
	soon     = time.Second
	maxQuick = 16_384
)

// crowded tells that so much is held that receivers that may hang have to be held short: very many of them together
// would take all the room that there is.
func (l *lanes) crowded() bool { return l.held >= l.most/4 }

// limit is how many requests of a lane may be under way. While it is crowded, one shows whether the receiver answers.
func (l *lanes) limit(at *lane) int {
	if l.crowded() && !at.quick {
		return 1
	}
	return at.terms.limit
}

// room is how many messages a lane may hold.
func (l *lanes) room(at *lane, now time.Time) int {
	if l.crowded() && !at.quick && now.Sub(at.last) >= soon {
		return 1
	}
	return at.room(now, l.most)
}

// terms are what the endpoint sets.
type terms struct {
	limit int           // simultaneous requests
	every time.Duration // between two requests, 0 for none
}

type lane struct {
	queue   []*held
	active  int
	terms   terms
	latency time.Duration // moving average
	last    time.Time     // when an attempt last ended, or the lane opened
	quick   bool          // the last answer came soon
}

// offer queues h, and starts a worker when the endpoint's concurrency allows. False means that the lane is full.
func (l *lanes) offer(h *held, t terms, now time.Time, work func(*lane)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := h.signed.Delivery.Endpoint
	at := l.open[key]
	if at == nil {
		if l.open == nil {
			l.open = make(map[endpoint.Key]*lane)
		}
		_, quick := l.quick[key]
		at = &lane{latency: firstLatency, last: now, quick: quick}
		l.open[key] = at
	}
	at.terms = t
	size := int64(len(h.signed.Body))
	if len(at.queue)+at.active >= l.room(at, now) || (l.waiting > 0 && l.waiting+size > l.bytes) {
		return false
	}
	l.waiting += size
	l.held++
	at.queue = append(at.queue, h)
	if at.active < l.limit(at) {
		at.active++
		work(at)
	}
	return true
}

// room is how many messages the lane may hold: what it can send within laneTime, and at least its concurrency.
func (l *lane) room(now time.Time, most int) int {
	latency := l.latency
	if l.active >= l.terms.limit {
		latency = max(latency, now.Sub(l.last)) // nothing has come back for so long
	}
	if l.terms.every > 0 {
		most = min(most, l.terms.limit+int(laneTime/l.terms.every)) // however fast it answers
	}
	waiting := int(laneTime * time.Duration(l.terms.limit) / max(latency, time.Microsecond))
	return max(l.terms.limit, min(most, l.terms.limit+waiting))
}

// next takes the oldest message; nil means that the worker is done. took is the duration of the attempt before, 0 at the
// first.
func (l *lanes) next(key endpoint.Key, at *lane, took time.Duration, now time.Time) *held {
	l.mu.Lock()
	defer l.mu.Unlock()
	if took > 0 {
		at.latency += (took - at.latency) / 8
		at.last = now
		at.quick = took < soon
		l.held--
	}
	if len(at.queue) > 0 && at.active <= l.limit(at) {
		h := at.queue[0]
		at.queue[0] = nil
		at.queue = at.queue[1:]
		l.waiting -= int64(len(h.signed.Body))
		return h
	}
	at.active--
	if at.active == 0 && len(at.queue) == 0 && l.open[key] == at {
		delete(l.open, key)
		l.remember(key, at.quick)
	}
	return nil
}

func (l *lanes) remember(key endpoint.Key, quick bool) {
	if !quick {
		delete(l.quick, key)
		return
	}
	if l.quick == nil || len(l.quick) >= maxQuick {
		l.quick = make(map[endpoint.Key]struct{})
	}
	l.quick[key] = struct{}{}
}

// trim takes the newest messages out of lanes that hold more than they have room for by now: an endpoint that has become
// slow, or hangs, gives the slots back that it was lent while it seemed fast.
func (l *lanes) trim(now time.Time) []*held {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*held
	for _, at := range l.open {
		keep := max(0, l.room(at, now)-at.active)
		if len(at.queue) <= keep {
			continue
		}
		out = append(out, at.queue[keep:]...)
		for _, h := range at.queue[keep:] {
			l.waiting -= int64(len(h.signed.Body))
		}
		l.held -= len(at.queue) - keep
		clear(at.queue[keep:])
		at.queue = at.queue[:keep]
	}
	return out
}

func (l *lanes) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// holding tells the broker, well within AckWait, that held messages are still worked on.
type holding struct {
	every time.Duration

	mu   sync.Mutex
	msgs map[*held]struct{}
}

func (h *holding) add(m *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.msgs == nil {
		h.msgs = make(map[*held]struct{})
	}
	h.msgs[m] = struct{}{}
}

func (h *holding) remove(m *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.msgs, m)
}

func (h *holding) run(ctx context.Context) {
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		h.mu.Lock()
		now := make([]*held, 0, len(h.msgs))
		for m := range h.msgs {
			now = append(now, m)
		}
		h.mu.Unlock()
		for _, m := range now {
			_ = m.msg.InProgress() // a failure only means that another dispatcher may begin; the ledger knows
		}
	}
}

// ledgerSize is how many finished deliveries are remembered, about 100 bytes each.
const ledgerSize = 65_536

// ledger remembers which attempts this dispatcher has finished and which are under way, so that a message that the
// broker hands out again, because an ack was lost or late, does not become a second POST. It is two generations of a
// map: a bound without a clock.
type ledger struct {
	size int

	mu         sync.Mutex
	young, old map[delivery.ID]int
	underway   map[delivery.ID]struct{}
}

func newLedger(size int) *ledger {
	return &ledger{size: size, young: make(map[delivery.ID]int), underway: make(map[delivery.ID]struct{})}
}

// entry is what the ledger says about an attempt.
type entry uint8

const (
	fresh    entry = iota + 1 // not known: it is now under way
	busy                      // the delivery is under way
	finished                  // this attempt, or a later one, has ended
)

func (l *ledger) begin(d delivery.Delivery) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if max(l.young[d.ID], l.old[d.ID]) >= d.Attempt {
		return finished
	}
	if _, ok := l.underway[d.ID]; ok {
		return busy
	}
	l.underway[d.ID] = struct{}{}
	return fresh
}

// end closes what begin opened. counted is false when the attempt was not made or could not be settled.
func (l *ledger) end(d delivery.Delivery, counted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.underway, d.ID)
	if !counted {
		return
	}
	l.young[d.ID] = d.Attempt
	if len(l.young) >= l.size/2 {
		l.old, l.young = l.young, make(map[delivery.ID]int)
	}
}
