package alert

import (
	"context"
	"log/slog"
	"time"
)

const (
	// patience bounds one item, so that a broker that does not answer cannot hold up the others for long.
	patience = 10 * time.Second
	// firstPause and longestPause bound the waits after something failed.
	firstPause   = time.Second
	longestPause = time.Minute
	// nap is the longest sleep of Run. Timers do not see that the machine's clock was set or that the machine slept.
	nap = 10 * time.Minute
)

// Run tells what is due until ctx ends. What fails is tried again, from a second later to a minute later. Run may be
// called once.
func (d *Desk) Run(ctx context.Context) error {
	defer d.uninstrument(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	broken := 0 // failures in a row, of whatever item: then it is the broker, and the others need not try
	for {
		wait := nap
		if broken > 0 {
			wait = pause(broken)
		} else if at, ok := d.first(); ok {
			wait = min(time.Until(at), nap)
		}
		if wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return nil
			case <-d.awake(broken):
				continue
			case <-timer.C:
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if d.step(ctx) {
			broken = 0
		} else {
			broken++
		}
	}
}

// awake is the signal that something may be due sooner; while the broker is in trouble nothing is.
func (d *Desk) awake(broken int) <-chan struct{} {
	if broken > 0 {
		return nil
	}
	return d.wake
}

func (d *Desk) first() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.agenda.first()
}

// step does the first item that is due, and reports whether that went well.
func (d *Desk) step(ctx context.Context) bool {
	now := time.Now()
	d.mu.Lock()
	i, ok := d.agenda.take(now)
	d.mu.Unlock()
	if !ok {
		return true
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	next, err := i.settle(limited, d, now)
	cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		i.plan().failures = 0
		if !next.IsZero() && d.known(i) {
			d.plan(i, next)
		}
		return true
	}
	if ctx.Err() != nil {
		return true // stopping; another desk, or this one after its restart, begins again
	}
	i.plan().failures++
	if d.known(i) {
		d.plan(i, time.Now().Add(pause(i.plan().failures)))
	}
	d.meters.failures.Add(ctx, 1)
	d.config.Logger.LogAttrs(ctx, slog.LevelWarn, "an alert could not be told yet; it is tried again", slog.Any("error", err))
	return false
}

// known reports whether an item has not been dropped while it was worked on. The lock is held.
func (d *Desk) known(i item) bool {
	switch i := i.(type) {
	case *sight:
		return d.sights[i.slot] == i
	case *watch:
		return d.watches[i.key] == i
	case *turn:
		return d.turns[i.alert.ID] == i
	}
	return false
}

// pause doubles from firstPause to longestPause.
func pause(failures int) time.Duration {
	wait := firstPause
	for range failures - 1 {
		if wait *= 2; wait >= longestPause {
			return longestPause
		}
	}
	return wait
}
