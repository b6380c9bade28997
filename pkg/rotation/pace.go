package rotation

import (
	"context"
	"sync"
	"time"
)

// pace hands out turns at a steady rate, one after the other.
type pace struct {
	gap time.Duration

	mu   sync.Mutex
	next time.Time
}

// wait returns when it is the caller's turn, or with the error of ctx.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	turn := p.next
	if turn.Before(now) {
		turn = now
	}
	p.next = turn.Add(p.gap)
	p.mu.Unlock()
	if turn.Equal(now) {
		return ctx.Err()
	}
	timer := time.NewTimer(turn.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
