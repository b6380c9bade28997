package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
)

// RotationStatus is how far the rotation of one name is, or how the last ones ended.
type RotationStatus struct {
	rotation.Progress

	// History holds the last rotations that ended, the newest last.
	History []rotation.Ended
	// Stalled tells that nobody more has accepted for a day.
	Stalled bool
	// Unreadable says which documents and entries are not counted, and why.
	Unreadable []error
}

// Ended is the last rotation that is over, and whether there is one.
func (s RotationStatus) Ended() (rotation.Ended, bool) {
	if len(s.History) == 0 {
		return rotation.Ended{}, false
	}
	return s.History[len(s.History)-1], true
}

// rotationOf reads what a rotation of one name is about.
func (w *Wallet) rotationOf(ctx context.Context, name string) (*Inventory, error) {
	if err := identity.CheckName(name); err != nil {
		return nil, err //nolint:wrapcheck // names it
	}
	statuses, err := w.list(ctx, strings.TrimSuffix(rotation.StatusKey(name, 0, endpoint.Key{}), "0..")+">")
	if err != nil {
		return nil, err
	}
	assignment, err := w.entry(ctx, rotation.AssignmentKey(name))
	switch {
	case err == nil:
		statuses = append(statuses, assignment)
	case !errors.Is(err, stream.ErrNoEntry):
		return nil, err
	}
	return w.inventory(ctx, statuses)
}

// Rotation tells how far the rotation of a name is.
func (w *Wallet) Rotation(ctx context.Context, name string) (RotationStatus, error) {
	v, err := w.rotationOf(ctx, name)
	if err != nil {
		return RotationStatus{}, err
	}
	return v.rotation(name, w.now())
}

func (v *Inventory) rotation(name string, now time.Time) (RotationStatus, error) {
	a, _, err := v.board.Assignment(name)
	if err != nil {
		return RotationStatus{}, err //nolint:wrapcheck // says what and what to do
	}
	p, err := v.board.Progress(name)
	if err != nil {
		return RotationStatus{}, err //nolint:wrapcheck // says what and what to do
	}
	return RotationStatus{Progress: p, History: a.History, Stalled: p.Stalled(now), Unreadable: v.Unreadable}, nil
}

// Rotations tells how far every rotation is, and how the last one of each name that has none now has ended.
func (w *Wallet) Rotations(ctx context.Context) ([]RotationStatus, error) {
	v, err := w.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	var all []RotationStatus
	var problems []error
	for _, name := range v.board.Identities() {
		s, err := v.rotation(name, w.now())
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(problems...)
}

// slowest bounds how rarely a rotation that is followed is looked at.
const slowest = 30 * time.Second

// FollowRotation shows the state of a rotation again and again, until show returns false or ctx ends. It looks every
// interval, and less often where looking takes long.
func (w *Wallet) FollowRotation(ctx context.Context, name string, interval time.Duration, show func(RotationStatus) (more bool, err error)) error {
	for {
		began := time.Now()
		s, err := w.Rotation(ctx, name)
		if err != nil && ctx.Err() == nil && w.operator.Trouble != nil {
			w.operator.Trouble(err)
		}
		if err == nil {
			more, err := show(s)
			if err != nil || !more {
				return err
			}
		}
		pause := time.NewTimer(min(max(interval, 20*time.Since(began)), slowest))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

func (w *Wallet) assignment(ctx context.Context, name string) (rotation.Assignment, uint64, error) {
	if err := identity.CheckName(name); err != nil {
		return rotation.Assignment{}, 0, err //nolint:wrapcheck // names it
	}
	entry, err := w.entry(ctx, rotation.AssignmentKey(name))
	if errors.Is(err, stream.ErrNoEntry) {
		return rotation.Assign(name), 0, nil
	}
	if err != nil {
		return rotation.Assignment{}, 0, err
	}
	a, err := rotation.ParseAssignment(entry.Value)
	if err != nil {
		return a, 0, fmt.Errorf("the assignment of identity %q cannot be read; use the release that wrote it, or a newer one: %w", name, err)
	}
	return a, entry.Revision, nil
}

// StartRotation begins a rotation of a name to the identity next, after next was found and opened; external tells that
// next is not stored but given to every dispatcher, which the probes then prove. by is who does it.
func (w *Wallet) StartRotation(ctx context.Context, name, next, by string, external bool, vault seal.Vault) (rotation.Assignment, error) {
	v, err := w.Inventory(ctx)
	if err != nil {
		return rotation.Assignment{}, err
	}
	var problems []error
	if !v.named(name) {
		problems = append(problems, &NotFoundError{
			What: fmt.Sprintf("no endpoint names identity %q, and none is stored under it: there is nothing to rotate", name),
			Hint: "`handfast identity list` shows what there is",
		})
	}
	if !external {
		problems = append(problems, w.usable(ctx, v, next, vault))
	}
	var started rotation.Assignment
	err = w.changeAssignment(ctx, name, func(a rotation.Assignment) (rotation.Assignment, error) {
		var refused error
		started, refused = rotation.Start(a, next, w.now(), by)
		return started, errors.Join(append(slices.Clone(problems), refused)...)
	})
	return started, err
}

// usable tells in words why nobody could present an identity.
func (w *Wallet) usable(ctx context.Context, v *Inventory, name string, vault seal.Vault) error {
	if err := identity.CheckName(name); err != nil {
		return nil //nolint:nilerr // rotation.Start says so
	}
	record, found := v.Identity(name)
	if !found {
		return fmt.Errorf("%w; for one that every dispatcher is given with its own --identity, add --external", w.missing(ctx, name))
	}
	_, err := openRecord(record, vault, w.now())
	return err
}

// PauseRotation stops probes and cut-overs; who has accepted stays on the next identity. by is who does it.
func (w *Wallet) PauseRotation(ctx context.Context, name, by string) error {
	return w.changeAssignment(ctx, name, func(a rotation.Assignment) (rotation.Assignment, error) { return rotation.Pause(a, w.now(), by) })
}

// ResumeRotation is the other half of [Wallet.PauseRotation].
func (w *Wallet) ResumeRotation(ctx context.Context, name, by string) error {
	return w.changeAssignment(ctx, name, func(a rotation.Assignment) (rotation.Assignment, error) { return rotation.Resume(a, w.now(), by) })
}

// RollBackRotation brings every endpoint back to the identity before.
func (w *Wallet) RollBackRotation(ctx context.Context, name, by string) error {
	return w.changeAssignment(ctx, name, func(a rotation.Assignment) (rotation.Assignment, error) { return rotation.Rollback(a, w.now(), by) })
}

func (w *Wallet) changeAssignment(ctx context.Context, name string, change func(rotation.Assignment) (rotation.Assignment, error)) error {
	for range tries {
		before, revision, err := w.assignment(ctx, name)
		if err != nil {
			return err
		}
		after, err := change(before)
		if err != nil {
			return err
		}
		value, err := after.Encode()
		if err != nil {
			return err //nolint:wrapcheck // says what and why
		}
		if err = w.put(ctx, rotation.AssignmentKey(name), value, revision); !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
	return busy(fmt.Sprintf("the rotation of identity %q", name))
}

// AcceptRotation cuts one endpoint over by hand; by is who decides it.
func (w *Wallet) AcceptRotation(ctx context.Context, name string, key endpoint.Key, by string) error {
	for range tries {
		held, err := w.operator.Endpoint(ctx, key)
		if err != nil {
			return err
		}
		switch {
		case held.TLS.Identity != name:
			return fmt.Errorf("endpoint %s presents identity %q, not %q", key, held.TLS.Identity, name)
		case held.Disabled():
			return fmt.Errorf("endpoint %s is disabled, and not in the rotation: %s; apply its document again to enable it", key, held.Status.Disabled.Reason)
		}
		v, err := w.rotationOf(ctx, name)
		if err != nil {
			return err
		}
		a, _, err := v.board.Assignment(name)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		before, revision := v.board.Status(name, key)
		status, err := rotation.AcceptByHand(a, before, rotation.Target{Key: key, Revision: held.Revision, Mark: rotation.Mark(held.Endpoint)}, w.now(), by)
		if err != nil {
			return err //nolint:wrapcheck // says what and why
		}
		value, err := status.Encode()
		if err != nil {
			return err //nolint:wrapcheck // says what and why
		}
		at := rotation.StatusKey(name, stream.Partition(key, w.operator.topology.Partitions), key)
		if err = w.put(ctx, at, value, revision); !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
	return busy(fmt.Sprintf("the state of endpoint %s", key))
}
