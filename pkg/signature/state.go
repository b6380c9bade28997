package signature

import "fmt"

// State says what a key may do. The zero value is [Next], which signs nothing.
type State uint8

// The closed list of states.
const (
	// Next is known to receivers before it is used; it does not sign yet.
	Next State = iota
	// Active signs. A scheme needs at least one active key.
	Active
	// Retiring still signs, for receivers that do not know the new key yet.
	Retiring
	// Revoked never signs again.
	Revoked
)

// States returns every state in the order of a key's life.
func States() []State { return []State{Next, Active, Retiring, Revoked} }

// String returns the state as it is written in files and on the command line.
func (s State) String() string {
	switch s {
	case Next:
		return "next"
	case Active:
		return "active"
	case Retiring:
		return "retiring"
	case Revoked:
		return "revoked"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// CanBecome reports whether a key may go from s to the other state. Staying is
// always allowed, and nothing comes back from [Revoked].
func (s State) CanBecome(other State) bool {
	if s == other {
		return s <= Revoked
	}
	switch s {
	case Next:
		return other == Active || other == Revoked
	case Active:
		return other == Retiring || other == Revoked
	case Retiring:
		return other == Active || other == Revoked
	case Revoked:
		return false
	}
	return false
}

// MarshalText writes the state's word; a value outside the list is an error.
func (s State) MarshalText() ([]byte, error) {
	if s > Revoked {
		return nil, fmt.Errorf("%w: %s is not a key state", ErrInvalidKey, s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads the state's word and leaves s alone if it is none.
func (s *State) UnmarshalText(text []byte) error {
	for _, known := range States() {
		if string(text) == known.String() {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%w: %q is not a key state; use next, active, retiring or revoked", ErrInvalidKey, text)
}
