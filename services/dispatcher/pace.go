package dispatcher

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// A receiver that has agreed to so many requests per minute gets them evenly: with 120, one every half second, and never
// two closer together. What comes faster waits, in this order:
//
//	in its lane, as far as that has room and its turn is near ── on RETRIES, until about its turn, at no attempt
//
// Only the dispatcher that is first in the order of a partition sends there, so that several together keep the rate of
// one; another one that gets such a message, because the first is busy, gives it back. Who becomes first, or starts, lets
// one interval pass before its first request, because it does not know when the last one left.
//
// A request that the pool repeats on a new connection, because a kept one turned out to be closed, counts once.

const (
	// nearTurn is how long a message may wait for its turn with a slot of this dispatcher.
	nearTurn = 10 * time.Second
	maxPaces = 16_384
	// maxLine is how far ahead turns are given, so that a receiver that allows more is soon served faster.
	maxLine = time.Hour
	// goldenRatio, times 1, 2, 3 and so on, spreads evenly over 32 bits, however many there are.
	goldenRatio uint32 = 2_654_435_769
)

// paces is the pace of each endpoint that has one.
type paces struct {
	mu    sync.Mutex
	all   map[endpoint.Key]*pace
	rests map[endpoint.Key]rest
	first map[int]time.Time // per partition, since when this dispatcher is first in its order
	room  int               // how many may be remembered until the idle ones are forgotten
}

type pace struct {
	every time.Duration
	// free is when the next request may leave.
	free time.Time
	// line is when the turn of the last message comes that has been sent to RETRIES.
	line time.Time
	// spilt counts those that have found no place in the line.
	spilt uint32
}

// interval is the least time between two requests, rounded up.
func interval(perMinute int) time.Duration {
	rate := time.Duration(perMinute)
	return (time.Minute + rate - 1) / rate
}

// of finds the pace of an endpoint.
func (p *paces) of(key endpoint.Key, partition, perMinute int, now time.Time) *pace {
	every := interval(perMinute)
	at := p.all[key]
	if at == nil {
		p.forget(now)
		at = &pace{every: every}
		p.all[key] = at
	}
	if at.every != every { // the receiver has changed its mind: the last request was at free - every
		at.free = at.free.Add(every - at.every)
		at.every = every
	}
	since, known := p.first[partition]
	if !known {
		since = now
		p.start(partition, now)
	}
	if start := since.Add(every); start.After(at.free) {
		at.free = start
	}
	return at
}

// forget drops those that would say nothing now: their next request may leave at once, as that of one that is not known.
// The others must stay, or each would wait for an interval again because of all the others.
func (p *paces) forget(now time.Time) {
	if p.all == nil {
		p.all = make(map[endpoint.Key]*pace)
	}
	if len(p.all) < max(p.room, maxPaces) {
		return
	}
	maps.DeleteFunc(p.all, func(_ endpoint.Key, at *pace) bool { return !at.free.After(now) && !at.line.After(now) })
	p.room = 2 * len(p.all)
}

func (p *paces) start(partition int, now time.Time) {
	if p.first == nil {
		p.first = make(map[int]time.Time)
	}
	p.first[partition] = now
}

// take takes the next turn when it is near, and says how long to wait for it; else it says when to come again.
func (p *paces) take(key endpoint.Key, partition, perMinute int, now time.Time) (wait time.Duration, near bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of(key, partition, perMinute, now)
	turn := later(now, at.free)
	if wait := turn.Sub(now); wait <= nearTurn {
		at.free = turn.Add(at.every)
		return wait, true
	}
	return at.queue(now, 0, nearTurn/2), false
}

// book gives a message its place in the line, behind those that stand in the lane, and says when to come again.
func (p *paces) book(key endpoint.Key, partition, perMinute, ahead, limit int, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of(key, partition, perMinute, now)
	wave := time.Duration(limit) * at.every
	if wave > nearTurn {
		ahead = 0 // the lane keeps nobody waiting: those in it are about to be told to come again
	}
	return at.queue(now, ahead, min(nearTurn/2, wave))
}

// queued reports whether messages that came before stand in a line.
func (p *paces) queued(key endpoint.Key, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.all[key]
	return at != nil && at.line.After(now)
}

// queue appends to the line. Whoever stands in it comes back a little early, so that the lane does not run empty. Who would
// be too far behind gets no place yet, and asks again while some of the line is still there: not all of them together,
// because they stand in front of other endpoints' messages then.
func (a *pace) queue(now time.Time, ahead int, early time.Duration) time.Duration {
	turn := later(a.line, later(now, a.free).Add(time.Duration(ahead-1)*a.every)).Add(a.every)
	if turn.Sub(now) > maxLine {
		a.spilt++
		share := float64(a.spilt*goldenRatio) / (1 << 32)
		return maxLine/2 + time.Duration(share*float64(maxLine*3/8))
	}
	a.line = turn
	return max(0, turn.Add(-early).Sub(now))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// turns notes for which partitions this dispatcher is first, so that it knows since when.
func (p *paces) turns(partitions int, owns func(partition int) bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for partition := range partitions {
		_, before := p.first[partition]
		switch mine := owns(partition); {
		case mine && !before:
			p.start(partition, now)
		case !mine && before:
			delete(p.first, partition)
		}
	}
}

// takeTurns follows the order of the dispatchers.
func (d *Dispatcher) takeTurns(ctx context.Context) {
	for {
		changed := d.members.Changed()
		d.paces.turns(len(d.partitions), func(p int) bool { return d.members.Rank(p) == 0 }, time.Now())
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// paced is how many requests per minute a message's receiver allows, 0 for no limit.
func (d *Dispatcher) paced(key endpoint.Key) (perMinute int) {
	to, ok := d.endpoints.Get(key)
	if !ok || to.Waiting() || to.Disabled() {
		return 0 // nothing is sent there
	}
	return to.Rate()
}

// await waits for the turn of a message. False means that the message has been taken care of.
func (d *Dispatcher) await(ctx context.Context, h *held) bool {
	key := h.signed.Delivery.Endpoint
	to, ok := d.endpoints.Get(key)
	if !ok || to.Activation.Kind == endpoint.NoActivation {
		return true // nothing was agreed, and nothing is looked up
	}
	perMinute, wait := d.paced(key), d.paces.resting(key, to.ActivationMark(), time.Now())
	partition := stream.Partition(key, d.topology.Partitions)
	switch {
	case wait > nearTurn:
		d.later(ctx, h, wait)
		return false
	case perMinute == 0 && wait == 0:
		return true
	case perMinute > 0 && d.members.Rank(partition) != 0:
		return d.back(h, time.Second)
	case perMinute > 0:
		var near bool
		if wait, near = d.paces.take(key, partition, perMinute, time.Now()); !near {
			d.later(ctx, h, wait)
			return false
		}
	}
	turn := time.NewTimer(wait)
	defer turn.Stop()
	select {
	case <-turn.C:
	case <-d.quit:
		return d.back(h, 0)
	}
	if perMinute > 0 && d.members.Rank(partition) != 0 {
		return d.back(h, time.Second)
	}
	return true
}

// back leaves a message that has been begun to the one that is first in the order. It returns false.
func (d *Dispatcher) back(h *held, after time.Duration) bool {
	d.ledger.end(h.signed.Delivery, false)
	d.giveBack(h.msg, after)
	d.release(h)
	return false
}

// turnOf is how long a message whose lane has no room stays away when its receiver allows so many requests per minute; 0
// leaves it to the policy.
func (d *Dispatcher) turnOf(h *held) time.Duration {
	key := h.signed.Delivery.Endpoint
	perMinute := d.paced(key)
	if perMinute == 0 {
		return 0
	}
	queued, limit := d.lanes.length(key)
	return d.paces.book(key, stream.Partition(key, d.topology.Partitions), perMinute, queued, limit, time.Now())
}

// length is how many messages wait in an endpoint's lane, and how many it works on at a time.
func (l *lanes) length(key endpoint.Key) (queued, limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.open[key]; at != nil {
		return len(at.queue), at.terms.limit
	}
	return 0, 1
}
