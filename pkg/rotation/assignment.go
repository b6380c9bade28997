package rotation

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxHistory is how many ended rotations an assignment remembers.
const maxHistory = 10

// Assignment says which identity a name stands for, and holds the rotation in progress. The functions of this package
// never change one: they return another.
type Assignment struct {
	// Name is what endpoints write as tls.identity.
	Name string `json:"name"`
	// Uses is the identity that is really presented; the same as Name until a rotation has completed.
	Uses string `json:"uses"`
	// Rotation is nil when there is none.
	Rotation *Rotation `json:"rotation,omitempty"`
	// History holds the last ten rotations that ended, the newest last.
	History []Ended `json:"history,omitempty"`
}

// Rotation is one way from an identity to the next.
type Rotation struct {
	// ID is derived from the start; no two rotations of an identity share it.
	ID string `json:"id"`
	// To is the next identity.
	To        string    `json:"to"`
	State     State     `json:"state"`
	StartedAt time.Time `json:"started_at"`
	StartedBy string    `json:"started_by"`
	// ChangedAt and ChangedBy tell when and by whom it was paused, resumed or rolled back last; zero if never.
	ChangedAt time.Time `json:"changed_at,omitzero"`
	ChangedBy string    `json:"changed_by,omitempty"`
}

// Ended is a rotation that is over.
type Ended struct {
	From    string    `json:"from"`
	To      string    `json:"to"`
	EndedAt time.Time `json:"ended_at"`
	How     How       `json:"how"`
}

// Assign is the assignment of a name that was never rotated: it stands for the identity of the same name.
func Assign(name string) Assignment { return Assignment{Name: name, Uses: name} }

type assignmentRecord struct {
	header
	Assignment
}

// Encode writes the record for [AssignmentKey]. The error lists everything that is wrong with the assignment.
func (a Assignment) Encode() ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("assignment of identity %q: %w", a.Name, err)
	}
	return json.Marshal(assignmentRecord{header{recordVersion}, a})
}

// ParseAssignment reads what Encode writes and nothing else. The error lists everything that is wrong with it.
func ParseAssignment(data []byte) (Assignment, error) {
	var r assignmentRecord
	if err := decode(data, &r); err != nil {
		return Assignment{}, fmt.Errorf("assignment of an identity: %w", err)
	}
	if err := errors.Join(r.header.check(), r.Assignment.check()); err != nil {
		return Assignment{}, fmt.Errorf("assignment of identity %q: %w", r.Name, err)
	}
	return r.Assignment, nil
}

func (a Assignment) check() error {
	errs := []error{checkIdentity("name", a.Name), checkIdentity("uses", a.Uses)}
	if a.Rotation != nil {
		errs = append(errs, a.Rotation.check(a.Uses)...)
	}
	if len(a.History) > maxHistory {
		errs = append(errs, fmt.Errorf("the history has %d entries; at most %d are kept", len(a.History), maxHistory))
	}
	for i, h := range a.History {
		errs = append(errs, checkIdentity(fmt.Sprintf("history[%d].from", i), h.From), checkIdentity(fmt.Sprintf("history[%d].to", i), h.To))
		if h.EndedAt.IsZero() {
			errs = append(errs, fmt.Errorf("history[%d] does not say when it ended", i))
		}
		if _, err := h.How.MarshalText(); err != nil {
			errs = append(errs, fmt.Errorf("history[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Rotation) check(uses string) []error {
	errs := []error{checkIdentity("rotation.to", r.To), checkPerson("rotation.started_by", r.StartedBy)}
	if !rotationPattern.MatchString(r.ID) {
		errs = append(errs, fmt.Errorf("rotation.id %q is not 16 hexadecimal digits", r.ID))
	}
	if r.To == uses {
		errs = append(errs, fmt.Errorf("the rotation leads to %q, which is in use already", r.To))
	}
	if _, err := r.State.MarshalText(); err != nil {
		errs = append(errs, fmt.Errorf("rotation: %w", err))
	}
	if r.StartedAt.IsZero() {
		errs = append(errs, errors.New("the rotation does not say when it started"))
	}
	if !r.ChangedAt.IsZero() || r.ChangedBy != "" {
		errs = append(errs, checkPerson("rotation.changed_by", r.ChangedBy))
		if r.ChangedAt.IsZero() {
			errs = append(errs, errors.New("the rotation does not say when it was changed"))
		}
	}
	return errs
}

// detach returns a copy that shares nothing with a.
func (a Assignment) detach() Assignment {
	if a.Rotation != nil {
		own := *a.Rotation
		a.Rotation = &own
	}
	a.History = slices.Clone(a.History)
	return a
}

// end returns the assignment without its rotation, which becomes a line of history.
func (a Assignment) end(how How, now time.Time) Assignment {
	ended := a.detach()
	r := ended.Rotation
	ended.Rotation = nil
	ended.History = append(ended.History, Ended{From: a.Uses, To: r.To, EndedAt: now.UTC(), How: how})
	if over := len(ended.History) - maxHistory; over > 0 {
		ended.History = ended.History[over:]
	}
	if how == Completed {
		ended.Uses = r.To
	}
	return ended
}
