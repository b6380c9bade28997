package identity

import "fmt"

// Origin says where an identity's certificates come from, and so how the next
// one is got. The zero value is none of them and never stored.
type Origin uint8

// The closed list of origins.
const (
	// FromAuthority has certificates issued by an [Authority] of ours, which
	// renews them without anybody asking.
	FromAuthority Origin = iota + 1
	// Imported came with certificate and key from elsewhere.
	Imported
	// Requested has its key from us and its certificate from a receiver's CA,
	// which signed our request. The key never leaves.
	Requested
)

// Origins returns the closed list.
func Origins() []Origin { return []Origin{FromAuthority, Imported, Requested} }

// String returns the origin as it is written in records and on the command line.
func (o Origin) String() string {
	switch o {
	case FromAuthority:
		return "authority"
	case Imported:
		return "imported"
	case Requested:
		return "requested"
	}
	return fmt.Sprintf("Origin(%d)", uint8(o))
}

// MarshalText writes the origin's word; a value outside the list is an error.
func (o Origin) MarshalText() ([]byte, error) { return wordOf(o, Origins()) }

// UnmarshalText reads the origin's word and leaves o alone if it is none.
func (o *Origin) UnmarshalText(text []byte) (err error) { return setWord(o, text, Origins()) }
