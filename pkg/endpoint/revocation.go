package endpoint

import "fmt"

// Revocation says what happens when a certificate of the receiver may have been
// withdrawn by its issuer. It is a closed list; the zero value asks nobody.
type Revocation uint8

const (
	// RevocationOff asks nobody.
	RevocationOff Revocation = iota
	// RevocationSoft refuses what is known to be revoked, and accepts what nothing
	// can be learnt of.
	RevocationSoft
	// RevocationHard sends nothing without a fresh answer that says good.
	RevocationHard
)

// String returns the word of the document: "off", "soft" or "hard".
func (r Revocation) String() string {
	switch r {
	case RevocationOff:
		return "off"
	case RevocationSoft:
		return "soft"
	case RevocationHard:
		return "hard"
	default:
		return fmt.Sprintf("Revocation(%d)", uint8(r))
	}
}

// MinVersion is the lowest version of TLS that is spoken with a receiver. It is
// a closed list; the zero value is TLS 1.2.
type MinVersion uint8

const (
	// TLS12 is TLS 1.2 (RFC 5246) or newer.
	TLS12 MinVersion = iota
	// TLS13 is TLS 1.3 (RFC 8446) or newer.
	TLS13
)

// String returns the word of the document: "1.2" or "1.3".
func (v MinVersion) String() string {
	switch v {
	case TLS12:
		return "1.2"
	case TLS13:
		return "1.3"
	default:
		return fmt.Sprintf("MinVersion(%d)", uint8(v))
	}
}
