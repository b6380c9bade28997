package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// lifecycle is the list of what has been started, stopped last in, first out. A start that fails half-way is rolled
// back through the same list.
type lifecycle struct {
	parts []part
}

type part struct {
	name string
	stop func(context.Context) error
}

func (l *lifecycle) started(name string, stop func(context.Context) error) {
	l.parts = append(l.parts, part{name: name, stop: stop})
}

// stop ends everything, even when something fails to end, and tells what did.
func (l *lifecycle) stop(ctx context.Context) error {
	var problems []error
	for _, p := range slices.Backward(l.parts) {
		if err := p.stop(ctx); err != nil {
			problems = append(problems, fmt.Errorf("stop %s: %w", p.name, err))
		}
	}
	l.parts = nil
	return errors.Join(problems...)
}
