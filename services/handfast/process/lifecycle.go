package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Lifecycle is the list of what has been started, stopped last in, first out. A start that fails half-way is rolled
// back through the same list. The zero value is an empty list. It belongs to one goroutine.
type Lifecycle struct {
	parts []part
}

type part struct {
	name string
	stop func(context.Context) error
}

// Started adds a part that has been started.
func (l *Lifecycle) Started(name string, stop func(context.Context) error) {
	l.parts = append(l.parts, part{name: name, stop: stop})
}

// Run starts a part that works until its context ends. The returned channel is closed when it has ended, asked or not.
func (l *Lifecycle) Run(name string, run func(context.Context) error) <-chan struct{} {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = run(ctx)
	}()
	l.Started(name, func(ctx context.Context) error {
		cancel()
		select {
		case <-ended:
			return result
		case <-ctx.Done():
			return fmt.Errorf("did not end in time: %w", ctx.Err())
		}
	})
	return ended
}

// Stop ends everything, even when something fails to end, and tells what did.
func (l *Lifecycle) Stop(ctx context.Context) error {
	var problems []error
	for _, p := range slices.Backward(l.parts) {
		if err := p.stop(ctx); err != nil {
			problems = append(problems, fmt.Errorf("stop %s: %w", p.name, err))
		}
	}
	l.parts = nil
	return errors.Join(problems...)
}
