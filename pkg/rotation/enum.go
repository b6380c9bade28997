package rotation

import (
	"fmt"
	"slices"
	"strings"
)

// State says what a rotation is doing. The zero value is none of them.
type State uint8

// The closed list of states.
const (
	// Running: endpoints are probed and cut over.
	Running State = iota + 1
	// Paused: nobody is probed or cut over; who has accepted stays on the next identity.
	Paused
	// RollingBack: everybody is back on the current identity; a dispatcher is about to end the rotation.
	RollingBack
)

var stateNames = [...]string{Running: "running", Paused: "paused", RollingBack: "rolling_back"}

// String is the word in the record.
func (s State) String() string { return nameOf(stateNames[:], uint8(s)) }

// MarshalText writes the word; a value outside the list is an error.
func (s State) MarshalText() ([]byte, error) { return textOf(stateNames[:], uint8(s), "state") }

// UnmarshalText reads the word and leaves s alone if it is none.
func (s *State) UnmarshalText(text []byte) error {
	n, err := numberOf(stateNames[:], text, "state")
	if err == nil {
		*s = State(n)
	}
	return err
}

// Stage says how far one endpoint is in a rotation. The zero value is none of them.
type Stage uint8

// The closed list of stages.
const (
	// Waiting: not probed yet in this rotation.
	Waiting Stage = iota + 1
	// Accepted: it accepts the next identity, and gets it.
	Accepted
	// Refused: it refuses the next identity, or nobody can tell; it gets the current one.
	Refused
	// Unreachable: no answer on which to judge; it gets the current one.
	Unreachable
)

var stageNames = [...]string{Waiting: "waiting", Accepted: "accepted", Refused: "refused", Unreachable: "unreachable"}

// Stages returns the closed list in the order of the constants.
func Stages() []Stage { return []Stage{Waiting, Accepted, Refused, Unreachable} }

// String is the word in the record and in `rotate status`.
func (s Stage) String() string { return nameOf(stageNames[:], uint8(s)) }

// MarshalText writes the word; a value outside the list is an error.
func (s Stage) MarshalText() ([]byte, error) { return textOf(stageNames[:], uint8(s), "stage") }

// UnmarshalText reads the word and leaves s alone if it is none.
func (s *Stage) UnmarshalText(text []byte) error {
	n, err := numberOf(stageNames[:], text, "stage")
	if err == nil {
		*s = Stage(n)
	}
	return err
}

// Basis says how a stage is known. The zero value is none of them.
type Basis uint8

// The closed list of bases.
const (
	// Said: the receiver told us, by an alert or by an HTTP answer.
	Said Basis = iota + 1
	// Inferred: concluded from what happened to the connection, or from two answers compared.
	Inferred
	// Ours: found on this side, before the receiver had a say.
	Ours
	// ByHand: an operator has decided it; Status.PinnedBy says who.
	ByHand
)

var basisNames = [...]string{Said: "said", Inferred: "inferred", Ours: "ours", ByHand: "by_hand"}

// String is the word in the record.
func (b Basis) String() string { return nameOf(basisNames[:], uint8(b)) }

// MarshalText writes the word; a value outside the list is an error.
func (b Basis) MarshalText() ([]byte, error) { return textOf(basisNames[:], uint8(b), "basis") }

// UnmarshalText reads the word and leaves b alone if it is none.
func (b *Basis) UnmarshalText(text []byte) error {
	n, err := numberOf(basisNames[:], text, "basis")
	if err == nil {
		*b = Basis(n)
	}
	return err
}

// How says in what way a rotation ended. The zero value is none of them.
type How uint8

// The closed list of endings.
const (
	// Completed: every live endpoint had accepted, and the name stands for the next identity.
	Completed How = iota + 1
	// RolledBack: a person has taken it back.
	RolledBack
)

var howNames = [...]string{Completed: "completed", RolledBack: "rolled_back"}

// String is the word in the record.
func (h How) String() string { return nameOf(howNames[:], uint8(h)) }

// MarshalText writes the word; a value outside the list is an error.
func (h How) MarshalText() ([]byte, error) { return textOf(howNames[:], uint8(h), "ending") }

// UnmarshalText reads the word and leaves h alone if it is none.
func (h *How) UnmarshalText(text []byte) error {
	n, err := numberOf(howNames[:], text, "ending")
	if err == nil {
		*h = How(n)
	}
	return err
}

// In each table, place 0 is empty: no enum's zero value has a name.

func nameOf(names []string, n uint8) string {
	if n == 0 || int(n) >= len(names) {
		return "unknown"
	}
	return names[n]
}

func textOf(names []string, n uint8, what string) ([]byte, error) {
	if n == 0 || int(n) >= len(names) {
		return nil, fmt.Errorf("%s %d is not in the closed list", what, n)
	}
	return []byte(names[n]), nil
}

func numberOf(names []string, text []byte, what string) (uint8, error) {
	at := slices.Index(names, string(text))
	if at < 1 {
		return 0, fmt.Errorf("%q is not a %s; use one of %s", text, what, strings.Join(names[1:], ", "))
	}
	return uint8(at), nil //nolint:gosec // tables of a few words
}
