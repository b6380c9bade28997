package endpoint

import "fmt"

// Mutual says what happens when a receiver does not ask for our certificate. It
// is a closed list; the zero value is the strict one.
type Mutual uint8

const (
	// Required sends nothing to a receiver that does not ask for our certificate.
	Required Mutual = iota
	// Requested presents the certificate when asked for it, and sends either way.
	Requested
)

// String returns the word of the document: "required" or "requested".
func (m Mutual) String() string {
	switch m {
	case Required:
		return "required"
	case Requested:
		return "requested"
	default:
		return fmt.Sprintf("Mutual(%d)", uint8(m))
	}
}
