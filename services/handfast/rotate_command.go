package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type rotateCommand struct {
	Status   rotateStatusCommand   `cmd:"" help:"Show how far rotations are, and who has not accepted."`
	Pause    rotatePauseCommand    `cmd:"" help:"Stop a rotation where it is."`
	Resume   rotateResumeCommand   `cmd:"" help:"Let a paused rotation go on."`
	Rollback rotateRollbackCommand `cmd:"" help:"Bring every endpoint back to the identity before."`
	Accept   rotateAcceptCommand   `cmd:"" help:"Change one endpoint over by hand."`
}

type rotateStatusCommand struct {
	connection.Flags

	Name   string `arg:"" help:"Name that endpoints write as tls.identity; without it, all." optional:"" placeholder:"NAME"`
	Follow bool   `help:"Show every change until the rotation has ended; needs NAME." short:"f"`
	JSON   bool   `help:"Print one JSON object per name, or with --follow per change, with every endpoint in it." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *rotateStatusCommand) Problems() []error {
	all := c.Flags.Problems()
	if err := identity.CheckName(c.Name); c.Name != "" && err != nil {
		all = append(all, err)
	}
	if c.Follow && c.Name == "" {
		all = append(all, errors.New("--follow: needs the NAME of what is rotated"))
	}
	return all
}

// Run prints the state.
func (c *rotateStatusCommand) Run(ctx context.Context, s streams) error {
	return wallet(ctx, s, &c.Flags, "rotate", func(_ *operator.Operator, w *operator.Wallet) error {
		if c.Follow {
			return followRotation(ctx, s, w, c.Name, c.JSON)
		}
		if c.Name == "" {
			return c.all(ctx, s, w)
		}
		status, err := w.Rotation(ctx, c.Name)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		for _, unreadable := range status.Unreadable {
			s.hintf("not counted: %v", unreadable)
		}
		if c.JSON {
			return writeJSON(s.out, showRotation(status))
		}
		printRotation(s, status)
		return nil
	})
}

func (c *rotateStatusCommand) all(ctx context.Context, s streams, w *operator.Wallet) error {
	all, problem := w.Rotations(ctx)
	switch {
	case len(all) == 0 && problem == nil:
		s.hintf("nothing was ever rotated; `handfast identity rotate NAME --to NEXT` starts a rotation")
	case c.JSON:
		for _, status := range all {
			if err := writeJSON(s.out, showRotation(status)); err != nil {
				return err
			}
		}
	default:
		if err := rotationTable(all).Write(s.out); err != nil {
			return err //nolint:wrapcheck // says what already
		}
	}
	return problem
}

// shownRotation is a rotation as --json prints it.
type shownRotation struct {
	Name        string             `json:"name"`
	Uses        string             `json:"uses"`
	Rotation    *rotation.Rotation `json:"rotation,omitempty"`
	Percent     int                `json:"percent"`
	Accepted    int                `json:"accepted"`
	Refused     int                `json:"refused"`
	Unreachable int                `json:"unreachable"`
	Waiting     int                `json:"waiting"`
	Stalled     bool               `json:"stalled"`
	Endpoints   []shownLine        `json:"endpoints"`
	History     []rotation.Ended   `json:"history"`
}

type shownLine struct {
	rotation.Status

	Endpoint string `json:"endpoint"`
}

func showRotation(status operator.RotationStatus) shownRotation {
	shown := shownRotation{
		Name: status.Identity, Uses: status.Uses, Rotation: status.Rotation, Percent: status.Percent(), Accepted: len(status.Accepted), Refused: len(status.Refused),
		Unreachable: len(status.Unreachable), Waiting: len(status.Waiting), Stalled: status.Stalled, Endpoints: []shownLine{}, History: append([]rotation.Ended{}, status.History...),
	}
	for _, line := range slices.Concat(status.Refused, status.Unreachable, status.Waiting, status.Accepted) {
		shown.Endpoints = append(shown.Endpoints, shownLine{line.Status, line.Endpoint.String()})
	}
	return shown
}

// rotationWords is the state in a line or two.
func rotationWords(status operator.RotationStatus) string {
	r := status.Rotation
	if r == nil {
		last, ended := status.Ended()
		if !ended {
			return fmt.Sprintf("%s stands for %s; it is not being rotated", status.Identity, status.Uses)
		}
		return fmt.Sprintf("%s stands for %s; the rotation from %s to %s is %s since %s", status.Identity, status.Uses, last.From, last.To, last.How, stamp(last.EndedAt))
	}
	words := fmt.Sprintf("%s: %s → %s is %s: %d %%; %d of %s accepted, %d refused, %d unreachable, %d waiting", status.Identity, status.Uses, status.To, r.State, status.Percent(),
		len(status.Accepted), plural(status.Total(), "endpoint", "endpoints"), len(status.Refused), len(status.Unreachable), len(status.Waiting))
	if status.Stalled {
		words += "; nobody more has accepted for a day"
	}
	return words
}

func printRotation(s streams, status operator.RotationStatus) {
	s.printf("%s\n", rotationWords(status))
	r := status.Rotation
	if r == nil {
		return
	}
	s.printf("  started at %s by %s\n", stamp(r.StartedAt), table.Clean(r.StartedBy))
	if !r.ChangedAt.IsZero() {
		s.printf("  %s since %s by %s\n", r.State, stamp(r.ChangedAt), table.Clean(r.ChangedBy))
	}
	for _, line := range slices.Concat(status.Refused, status.Unreachable, status.Waiting) {
		printLine(s, line)
	}
	for _, line := range status.Accepted {
		if line.Status.PinnedBy != "" {
			s.printf("%s accepted by hand, since %s by %s\n", line.Endpoint, stamp(line.Status.Since), table.Clean(line.Status.PinnedBy))
		}
	}
}

func printLine(s streams, line rotation.Line) {
	st := line.Status
	var more []string
	if !st.Since.IsZero() {
		more = append(more, "since "+stamp(st.Since))
	}
	if !st.NextProbe.IsZero() {
		more = append(more, "tried again at "+stamp(st.NextProbe))
	}
	s.printf("%s\n", strings.TrimSpace(fmt.Sprintf("%s %s %s", line.Endpoint, st.Stage, strings.Join(more, ", "))))
	if st.Reason != "" {
		s.printf("  %s\n", table.Clean(st.Reason))
	}
	if st.Advice != "" {
		s.printf("  to do: %s\n", table.Clean(st.Advice))
	}
}

// followPace is how often a rotation that is followed is looked at.
const followPace = time.Second

// followRotation shows every change until the rotation has ended. One that was rolled back is an error.
func followRotation(ctx context.Context, s streams, w *operator.Wallet, name string, asJSON bool) error {
	shown, running := "", false
	return w.FollowRotation(ctx, name, followPace, func(status operator.RotationStatus) (bool, error) { //nolint:wrapcheck // says what already
		words := rotationWords(status)
		if words != shown {
			shown = words
			if asJSON {
				if err := writeJSON(s.out, showRotation(status)); err != nil {
					return false, err
				}
			} else {
				s.printf("%s  %s\n", stamp(time.Now()), words)
			}
		}
		running = running || status.Rotation != nil
		if last, ended := status.Ended(); running && status.Rotation == nil && ended && last.How == rotation.RolledBack {
			return false, fmt.Errorf("the rotation of %s to %s was rolled back", name, last.To)
		}
		return status.Rotation != nil, nil
	})
}

// rotateFlags are those of the commands that change a rotation.
type rotateFlags struct {
	personFlags
	connection.Flags

	Name string `arg:"" help:"Name that endpoints write as tls.identity." placeholder:"NAME"`
	JSON bool   `help:"Print one JSON object with the state afterwards." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *rotateFlags) Problems() []error {
	all := c.Flags.Problems()
	if err := identity.CheckName(c.Name); err != nil {
		all = append(all, err)
	}
	return all
}

// change changes a rotation and tells how it is now.
func (c *rotateFlags) change(ctx context.Context, s streams, note string, change func(*operator.Wallet) error) error {
	return wallet(ctx, s, &c.Flags, "rotate", func(_ *operator.Operator, w *operator.Wallet) error {
		if err := change(w); err != nil {
			return err
		}
		status, err := w.Rotation(ctx, c.Name)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if c.JSON {
			return writeJSON(s.out, showRotation(status))
		}
		s.printf("%s\n  %s\n", rotationWords(status), note)
		return nil
	})
}

type rotatePauseCommand struct{ rotateFlags }

// Run pauses.
func (c *rotatePauseCommand) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, "nobody is probed or changed over; who has accepted stays on the next identity; `handfast rotate resume "+c.Name+"` goes on",
		func(w *operator.Wallet) error { return w.PauseRotation(ctx, c.Name, c.person()) })
}

type rotateResumeCommand struct{ rotateFlags }

// Run resumes.
func (c *rotateResumeCommand) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, "it goes on", func(w *operator.Wallet) error { return w.ResumeRotation(ctx, c.Name, c.person()) })
}

type rotateRollbackCommand struct{ rotateFlags }

// Help is the manual.
func (*rotateRollbackCommand) Help() string {
	return `Every endpoint is presented the identity before at once, by one change that all dispatchers see. It takes back a rotation
that runs or is paused; one that has completed is taken back by a rotation the other way.`
}

// Run rolls back.
func (c *rotateRollbackCommand) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, "every endpoint is presented the identity before; a dispatcher notes the end",
		func(w *operator.Wallet) error { return w.RollBackRotation(ctx, c.Name, c.person()) })
}

type rotateAcceptCommand struct {
	rotateFlags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
}

// Help is the manual.
func (*rotateAcceptCommand) Help() string {
	return `For a receiver that answers every probe with a refusal although it would accept deliveries. It is presented the next
identity from now on. If it then refuses a delivery, it falls back to the one before, and the delivery is tried again.

  handfast rotate accept default acme/orders`
}

// Run changes the endpoint over.
func (c *rotateAcceptCommand) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, "endpoint "+c.Endpoint.String()+" is presented the next identity from now on; a delivery that it refuses sets it back",
		func(w *operator.Wallet) error { return w.AcceptRotation(ctx, c.Name, c.Endpoint.Key, c.person()) })
}
