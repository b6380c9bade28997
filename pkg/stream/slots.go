package stream

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// Slots bounds how many messages a service holds at a time, over all its loops.
type Slots struct {
	free *semaphore.Weighted
}

// NewSlots makes n slots.
func NewSlots(n int) *Slots { return &Slots{free: semaphore.NewWeighted(int64(n))} }

// Reserve waits until one message may be held, and takes up to most slots of those that are free by then.
func (s *Slots) Reserve(ctx context.Context, most int) (int, error) {
	if err := s.free.Acquire(ctx, 1); err != nil {
		return 0, fmt.Errorf("wait for a free slot: %w", err)
	}
	taken := 1
	for more := most - 1; more > 0; {
		if s.free.TryAcquire(int64(more)) {
			taken += more
			more = min(more, most-taken)
			continue
		}
		more /= 2
	}
	return taken, nil
}

// Release gives n slots back.
func (s *Slots) Release(n int) {
	if n > 0 {
		s.free.Release(int64(n))
	}
}
