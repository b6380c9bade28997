package alert

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Stage is how far a rotation of an identity has come, as far as it is news. The list is closed.
type Stage uint8

// The stages. The zero Stage is not one.
const (
	// Started: endpoints are being moved to the next identity.
	Started Stage = iota + 1
	// Completed: every endpoint is presented the next identity.
	Completed
	// RolledBack: every endpoint is presented the identity of before.
	RolledBack
	// Stalled: for a long time no endpoint more has accepted the next identity, and some have not.
	Stalled
)

// Type is the type of the alert that tells the stage, and "" for a stage outside the list.
func (s Stage) Type() Type {
	switch s {
	case Started:
		return RotationStarted
	case Completed:
		return RotationCompleted
	case RolledBack:
		return RotationRolledBack
	case Stalled:
		return RotationStalled
	}
	return ""
}

// Rotation is news of one rotation.
type Rotation struct {
	// Identity is the name that endpoints use; ID is that of the rotation.
	Identity, ID string
	// From and To are the identities that the name stood for and shall stand for.
	From, To string
	Stage    Stage
	// Since is when the stage began. Two stalls of one rotation are two pieces of news when they began at different
	// times, so it has to be the same for all dispatchers: a stored time, not that of looking.
	Since time.Time
	// How many endpoints are in which stage of their own.
	Accepted, Refused, Unreachable, Waiting int
	// Detail says what happened, Advice what to do. Both may be empty.
	Detail, Advice string
}

// Check returns everything that is wrong with the news.
func (r Rotation) Check() error {
	var problems []error
	for _, name := range []struct{ what, text string }{
		{"identity", r.Identity}, {"id", r.ID}, {"from", r.From}, {"to", r.To},
	} {
		if !printable(name.text) {
			problems = append(problems, fmt.Errorf("%s %q is not 1 to %d printable characters", name.what, clip(name.text, maxName), maxName))
		}
	}
	if r.Stage.Type() == "" {
		problems = append(problems, fmt.Errorf("stage %d is not in the closed list", r.Stage))
	}
	if r.Since.IsZero() {
		problems = append(problems, errors.New("since is missing"))
	}
	if min(r.Accepted, r.Refused, r.Unreachable, r.Waiting) < 0 {
		problems = append(problems, errors.New("a number of endpoints is below zero"))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("no alert about the rotation of %q: %w", clip(r.Identity, maxName), errors.Join(problems...))
}

// Turn is the data of an alert about a rotation: schemas/alert-rotation.schema.json.
type Turn struct {
	Identity string    `json:"identity"`
	Rotation string    `json:"rotation"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Since    time.Time `json:"since"`
	// Endpoints counts the endpoints of the identity by how they stand.
	Endpoints Tally  `json:"endpoints"`
	Detail    string `json:"detail"`
	Advice    string `json:"advice,omitempty"`
}

// Tally counts endpoints by their stage of a rotation.
type Tally struct {
	Accepted    int `json:"accepted"`
	Refused     int `json:"refused"`
	Unreachable int `json:"unreachable"`
	Waiting     int `json:"waiting"`
}

// alert is the alert that tells the news.
func (r Rotation) alert(now time.Time) (Alert, error) {
	detail := r.Detail
	if detail == "" {
		detail = r.sentence()
	}
	discriminator := r.ID
	if r.Stage == Stalled {
		discriminator += " " + strconv.FormatInt(r.Since.Unix(), 10)
	}
	return build(r.Stage.Type(), r.Identity, discriminator, now, Turn{
		Identity: r.Identity, Rotation: r.ID, From: r.From, To: r.To, Since: r.Since.UTC(),
		Endpoints: Tally{Accepted: r.Accepted, Refused: r.Refused, Unreachable: r.Unreachable, Waiting: r.Waiting},
		Detail:    clip(detail, maxWords), Advice: clip(r.Advice, maxWords),
	})
}

func (r Rotation) sentence() string {
	from := "The rotation of identity " + r.Identity + " from " + r.From + " to " + r.To
	switch r.Stage {
	case Started:
		return from + " has started"
	case Completed:
		return from + " is complete: every endpoint is presented " + r.To
	case RolledBack:
		return from + " was rolled back: every endpoint is presented " + r.From
	case Stalled:
		missing := r.Refused + r.Unreachable + r.Waiting
		return from + " does not move: " + strconv.Itoa(missing) + " endpoints have not accepted it since " + r.Since.UTC().Format(time.RFC3339)
	}
	return from
}
