package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
)

const (
	// current is the identity that every endpoint names.
	current = "default"
	// calm is what is left out before a window, so that what went before does not reach into it.
	calm = 200 * time.Millisecond
	// rotationTime bounds one rotation, from its start until every endpoint has cut over.
	rotationTime = time.Minute
	// person stands in the records as whoever rotates.
	person = "bench"
)

// successor is the name of the n-th identity to rotate to. None is used twice: the pool would still hold connections
// under it, and a rotation without handshakes is none.
func successor(n int) string { return "next-" + strconv.Itoa(n) }

// roster shows the endpoints to the board; they never change.
type roster struct {
	targets    []rotation.Target
	marks      map[endpoint.Key]string
	partitions int
}

func newRoster(partitions int) *roster {
	return &roster{marks: make(map[endpoint.Key]string), partitions: partitions}
}

func (r *roster) add(e *endpoint.Endpoint, revision uint64) {
	mark := rotation.Mark(e)
	r.marks[e.Key()] = mark
	r.targets = append(r.targets, rotation.Target{Key: e.Key(), Revision: revision, Mark: mark})
}

// Live lists every endpoint, because all of them name the one identity.
func (r *roster) Live(string) []rotation.Target { return r.targets }

// Mark is the endpoint's.
func (r *roster) Mark(key endpoint.Key) string { return r.marks[key] }

// Partition is the endpoint's share.
func (r *roster) Partition(key endpoint.Key) int { return stream.Partition(key, r.partitions) }

// turnover rotates as `handfast identity rotate` does: it writes the assignment and leaves the rest to the dispatcher.
type turnover struct {
	bucket *stream.Bucket
	board  *rotation.Board
	used   int // successors so far
}

// follow keeps the board equal to the bucket until ctx ends. An entry that cannot be read leaves the board as it is, and
// the rotation then fails by its time.
func (t *turnover) follow(ctx context.Context, ready func()) {
	t.bucket.Follow(ctx, func(e stream.Entry) {
		switch {
		case e.Removed:
			t.board.Remove(e.Key, e.Revision)
		case rotation.IsAssignmentKey(e.Key):
			_ = t.board.PutAssignment(e.Key, e.Value, e.Revision)
		case rotation.IsStatusKey(e.Key):
			_ = t.board.PutStatus(e.Key, e.Value, e.Revision)
		}
	}, ready)
}

// change writes a new assignment over the one that stands there.
func (t *turnover) change(ctx context.Context, how func(rotation.Assignment) (rotation.Assignment, error)) error {
	before, revision, err := t.board.Assignment(current)
	if err != nil {
		return err
	}
	after, err := how(before)
	if err != nil {
		return err
	}
	value, err := after.Encode()
	if err != nil {
		return err
	}
	key := rotation.AssignmentKey(current)
	if revision, err = t.bucket.Update(ctx, key, value, revision); err != nil {
		return err
	}
	return t.board.PutAssignment(key, value, revision)
}

// forward starts a rotation and returns when every endpoint has cut over.
func (t *turnover) forward(ctx context.Context) error {
	t.used++
	err := t.change(ctx, func(a rotation.Assignment) (rotation.Assignment, error) {
		return rotation.Start(a, successor(t.used), time.Now(), person)
	})
	if err != nil {
		return fmt.Errorf("start a rotation: %w", err)
	}
	return t.until(ctx, "not every endpoint has cut over", func(p rotation.Progress) (bool, error) {
		for _, line := range append(p.Refused, p.Unreachable...) {
			return false, fmt.Errorf("endpoint %s did not accept %s: %s", line.Endpoint, successor(t.used), line.Status.Reason)
		}
		return len(p.Accepted) == endpoints, nil
	})
}

// back takes the rotation back and returns when it is over.
func (t *turnover) back(ctx context.Context) error {
	err := t.change(ctx, func(a rotation.Assignment) (rotation.Assignment, error) {
		return rotation.Rollback(a, time.Now(), person)
	})
	if err != nil {
		return fmt.Errorf("roll a rotation back: %w", err)
	}
	return t.until(ctx, "the rotation has not been rolled back", func(p rotation.Progress) (bool, error) { return p.Rotation == nil, nil })
}

// until looks at the rotation at each of its changes, and not in between: a loop that asks would be load of its own.
func (t *turnover) until(ctx context.Context, otherwise string, holds func(rotation.Progress) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, rotationTime)
	defer cancel()
	for {
		changed := t.board.Changed()
		progress, err := t.board.Progress(current)
		if err != nil {
			return err
		}
		if ok, err := holds(progress); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", otherwise, context.Cause(ctx))
		}
	}
}

// windows are the spans of one flow: a quiet one before each rotation and after the last.
type windows struct {
	quiet, turning []span
	handshakes     []float64 // of each rotation
}

// ratio compares a figure during each rotation with that of its two quiet neighbours together (a machine that slows down
// meanwhile slows all three) and takes the median. The error is that there is nothing to compare.
func (w windows) ratio(figure func(...span) float64) (float64, error) {
	all := make([]float64, 0, len(w.turning))
	for i, turning := range w.turning {
		share := figure(turning) / figure(w.quiet[i:i+2]...)
		if !(share > 0) || math.IsInf(share, 1) { // the comparison fails for NaN, too
			return 0, errNothingCame
		}
		all = append(all, share)
	}
	return round(percentile(all, 0.5), 3), nil
}

// seconds are how long the rotations took.
func (w windows) seconds() []float64 {
	all := make([]float64, 0, len(w.turning))
	for _, turning := range w.turning {
		all = append(all, (turning.to - turning.from).Seconds())
	}
	return all
}

var errNothingCame = errors.New("nothing was delivered in one of the windows: give a higher --rate, or more --seconds")

var errNotRotated = errors.New("nothing was delivered under the next identity while it was rotated to")

// alternate runs a flow at a rate through so many rotations, each between two quiet windows of a length.
func (p *pipeline) alternate(ctx context.Context, rate, rotations int, quiet time.Duration) (windows, []passage, error) {
	f, ctx, err := p.open(ctx, rate)
	if err != nil {
		return windows{}, nil, err
	}
	defer f.cancel(nil)
	var w windows
	if err := f.alternate(ctx, &w, rotations, quiet); err != nil {
		f.fail(err) // unless that is why
	}
	all, err := f.stop(ctx)
	return w, all, err
}

func (f *flow) alternate(ctx context.Context, w *windows, rotations int, quiet time.Duration) error {
	// The first seconds of a load fill queues and open connections.
	if _, err := f.pause(ctx, 2*calm); err != nil {
		return err
	}
	for i := range rotations + 1 {
		window, err := f.pause(ctx, quiet)
		if err != nil {
			return err
		}
		w.quiet = append(w.quiet, window)
		if i == rotations {
			return nil
		}
		if err := f.rotate(ctx, w); err != nil {
			return err
		}
		if _, err := f.pause(ctx, calm); err != nil {
			return err
		}
	}
	return nil
}

// rotate makes one rotation and adds the window from its start until every endpoint has cut over. Afterwards all is as it
// was before.
func (f *flow) rotate(ctx context.Context, w *windows) error {
	t := f.p.turnover
	before := f.p.fleet.count()
	window := span{from: time.Since(f.began)}
	if err := t.forward(ctx); err != nil {
		return err
	}
	window.to = time.Since(f.began)
	after := f.p.fleet.count()
	if after.rotated == before.rotated {
		return errNotRotated
	}
	w.turning, w.handshakes = append(w.turning, window), append(w.handshakes, float64(after.handshakes-before.handshakes))
	return t.back(ctx)
}
