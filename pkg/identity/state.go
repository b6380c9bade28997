package identity

import (
	"fmt"
	"slices"
	"strings"
)

// State is where an identity stands in its life. The zero value is no state and
// never stored.
type State uint8

// The closed list of an identity's states.
const (
	// Pending has a key and a request, and waits for the first certificate.
	Pending State = iota + 1
	// Active can be presented, as long as its certificate is valid.
	Active
	// Retired is never presented again. Its key is gone; the record stays, so
	// that old receipts can be read.
	Retired
)

// States returns the closed list in the order of an identity's life.
func States() []State { return []State{Pending, Active, Retired} }

// String returns the state as it is written in records and on the command line.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Active:
		return "active"
	case Retired:
		return "retired"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText writes the state's word; a value outside the list is an error.
func (s State) MarshalText() ([]byte, error) { return wordOf(s, States()) }

// UnmarshalText reads the state's word and leaves s alone if it is none.
func (s *State) UnmarshalText(text []byte) error { return setWord(s, text, States()) }

// AuthorityState is where an authority stands in its life. The zero value is no
// state and never stored.
type AuthorityState uint8

// The closed list of an authority's states.
const (
	// AuthorityActive issues for new identities and renews.
	AuthorityActive AuthorityState = iota + 1
	// AuthorityRetiring renews what it has issued and issues for no new identity:
	// its successor has taken over. Receivers still have to trust it.
	AuthorityRetiring
	// AuthorityRetired issues nothing; its key is gone, and receivers no longer
	// have to trust it.
	AuthorityRetired
)

// AuthorityStates returns the closed list in the order of an authority's life.
func AuthorityStates() []AuthorityState {
	return []AuthorityState{AuthorityActive, AuthorityRetiring, AuthorityRetired}
}

// String returns the state as it is written in records and on the command line.
func (s AuthorityState) String() string {
	switch s {
	case AuthorityActive:
		return "active"
	case AuthorityRetiring:
		return "retiring"
	case AuthorityRetired:
		return "retired"
	}
	return fmt.Sprintf("AuthorityState(%d)", uint8(s))
}

// MarshalText writes the state's word; a value outside the list is an error.
func (s AuthorityState) MarshalText() ([]byte, error) { return wordOf(s, AuthorityStates()) }

// UnmarshalText reads the state's word and leaves s alone if it is none.
func (s *AuthorityState) UnmarshalText(text []byte) error {
	return setWord(s, text, AuthorityStates())
}

// word is a value of a closed list that is written as its word.
type word interface {
	comparable
	fmt.Stringer
}

func wordOf[W word](value W, list []W) ([]byte, error) {
	if !slices.Contains(list, value) {
		return nil, fmt.Errorf("%s is not one of: %s", value, words(list))
	}
	return []byte(value.String()), nil
}

func setWord[W word](value *W, text []byte, list []W) error {
	for _, known := range list {
		if string(text) == known.String() {
			*value = known
			return nil
		}
	}
	return fmt.Errorf("%q is not one of: %s", text, words(list))
}

func words[W word](list []W) string {
	all := make([]string, len(list))
	for i, w := range list {
		all[i] = w.String()
	}
	return strings.Join(all, ", ")
}
