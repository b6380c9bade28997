package rotation

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Start begins a rotation to the identity to. It does not look whether that identity exists and is usable: the caller
// does, before anything changes. The error lists, in words, everything that speaks against it.
func Start(a Assignment, to string, now time.Time, by string) (Assignment, error) {
	errs := []error{checkIdentity("the identity to rotate to,", to), checkPerson("by", by)}
	if to == a.Uses {
		errs = append(errs, fmt.Errorf("identity %q presents %q already: name the identity that it should change to", a.Name, to))
	}
	if r := a.Rotation; r != nil {
		errs = append(errs, fmt.Errorf("identity %q is being rotated to %q since %s (%s): let that end, or roll it back first",
			a.Name, r.To, r.StartedAt.UTC().Format(time.RFC3339), r.State))
	}
	if now.IsZero() {
		errs = append(errs, errors.New("the time of the start is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return Assignment{}, err
	}
	before, err := a.Encode()
	if err != nil {
		return Assignment{}, err
	}
	started := a.detach()
	now = now.UTC()
	sum := sha256.Sum256(fmt.Appendf(before, "\n%s\n%d\n%s", to, now.UnixNano(), by))
	started.Rotation = &Rotation{ID: hex.EncodeToString(sum[:8]), To: to, State: Running, StartedAt: now, StartedBy: by}
	return started, nil
}

// Pause stops probes and cut-overs. Endpoints that have accepted stay on the next identity. The error says in words why
// it is not possible.
func Pause(a Assignment, now time.Time, by string) (Assignment, error) {
	return change(a, Paused, now, by, map[State]string{
		Paused:      "it is paused already",
		RollingBack: "it is being rolled back, which cannot be paused",
	})
}

// Resume goes on with a paused rotation. The error says in words why it is not possible.
func Resume(a Assignment, now time.Time, by string) (Assignment, error) {
	return change(a, Running, now, by, map[State]string{
		Running:     "it is not paused",
		RollingBack: "it is being rolled back: start a new one when that has ended",
	})
}

// Rollback brings every endpoint back to the current identity, by this one change. A dispatcher then ends the rotation.
// The error says in words why it is not possible.
func Rollback(a Assignment, now time.Time, by string) (Assignment, error) {
	return change(a, RollingBack, now, by, map[State]string{
		RollingBack: "it is being rolled back already; a dispatcher ends it as soon as one is running",
	})
}

func change(a Assignment, to State, now time.Time, by string, refusals map[State]string) (Assignment, error) {
	if a.Rotation == nil {
		return Assignment{}, fmt.Errorf("identity %q is not being rotated: there is nothing to change%s", a.Name, lastEnded(a))
	}
	errs := []error{checkPerson("by", by)}
	if words, refused := refusals[a.Rotation.State]; refused {
		errs = append(errs, fmt.Errorf("the rotation of identity %q to %q: %s", a.Name, a.Rotation.To, words))
	}
	if now.IsZero() {
		errs = append(errs, errors.New("the time of the change is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return Assignment{}, err
	}
	changed := a.detach()
	changed.Rotation.State, changed.Rotation.ChangedAt, changed.Rotation.ChangedBy = to, now.UTC(), by
	return changed, nil
}

// lastEnded reminds a person of a rotation that ended while they were typing.
func lastEnded(a Assignment) string {
	if len(a.History) == 0 {
		return ""
	}
	last := a.History[len(a.History)-1]
	return fmt.Sprintf(" (the last rotation, from %q to %q, is %s since %s)", last.From, last.To, last.How, last.EndedAt.UTC().Format(time.RFC3339))
}

// AcceptByHand cuts one endpoint over on an operator's word, for receivers that answer every OPTIONS request with a
// refusal. An attempt that is then refused sets it back like any other. The status is what is stored for the endpoint,
// or the zero value. The error says in words why it is not possible.
func AcceptByHand(a Assignment, s Status, t Target, now time.Time, by string) (Status, error) {
	r := a.Rotation
	if r == nil {
		return Status{}, fmt.Errorf("identity %q is not being rotated: there is nothing to accept%s", a.Name, lastEnded(a))
	}
	s = s.of(r, t.Mark)
	errs := []error{checkPerson("by", by)}
	if r.State != Running {
		errs = append(errs, fmt.Errorf("the rotation of identity %q is %s: nothing is cut over now; resume it first", a.Name, r.State))
	}
	if s.Stage == Accepted {
		errs = append(errs, fmt.Errorf("endpoint %s has accepted %q already, since %s", t.Key, r.To, s.Since.UTC().Format(time.RFC3339)))
	}
	if t.Mark == "" {
		errs = append(errs, fmt.Errorf("endpoint %s does not exist", t.Key))
	}
	if now.IsZero() {
		errs = append(errs, errors.New("the time of the decision is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return Status{}, err
	}
	reason := "accepted by hand"
	if s.Reason != "" {
		reason += "; the last probe: " + s.Reason
	}
	return Status{
		Rotation: r.ID, Stage: Accepted, Basis: ByHand, PinnedBy: by, Reason: clip(reason), Since: now.UTC(),
		ProbedAt: s.ProbedAt, Probes: s.Probes, Falls: s.Falls, Revision: t.Revision, Mark: t.Mark,
	}, nil
}
