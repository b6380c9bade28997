package dispatcher

import (
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
)

// rest is until when a receiver wants nothing. It is that of one activation: another receiver has not asked for it.
type rest struct {
	until time.Time
	mark  string
}

// rest notes that a receiver wants nothing until a time (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 2.2).
func (p *paces) rest(key endpoint.Key, mark string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rests == nil || len(p.rests) >= maxPaces {
		p.rests = make(map[endpoint.Key]rest)
	}
	if known := p.rests[key]; known.mark == mark {
		until = later(known.until, until)
	}
	p.rests[key] = rest{until: until, mark: mark}
	if at := p.all[key]; at != nil {
		at.free = later(at.free, until)
	}
}

// resting is how long a receiver still wants nothing.
func (p *paces) resting(key endpoint.Key, mark string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.greet(key, mark, now)
	known := p.rests[key]
	if !known.until.After(now) {
		delete(p.rests, key)
	}
	return max(0, known.until.Sub(now))
}

// meet ends the rest, and the line, of a receiver before this one.
func (p *paces) meet(key endpoint.Key, mark string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.greet(key, mark, now)
}

func (p *paces) greet(key endpoint.Key, mark string, now time.Time) {
	known, rested := p.rests[key]
	if !rested || known.mark == mark {
		return
	}
	delete(p.rests, key)
	if at := p.all[key]; at != nil {
		// Turns that have been given, which are near, stay given.
		if near := now.Add(nearTurn + at.every); at.free.After(near) {
			at.free = near
		}
		at.line = time.Time{}
	}
}

// throttle notes that a receiver that we have agreed with by the web hook specification wants nothing for a while: then
// that holds for every message, and not for the one that was turned down only.
func (d *Dispatcher) throttle(r *result) {
	if r.verdict.Outcome != delivery.Throttled || r.verdict.RetryAfter <= 0 || r.to.Activation.Kind != endpoint.CloudEventsActivation {
		return
	}
	if _, same := d.stillAsks(r.to); same {
		d.paces.rest(r.to.Key(), r.to.ActivationMark(), time.Now().Add(r.verdict.RetryAfter))
	}
}
