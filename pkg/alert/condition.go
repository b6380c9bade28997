package alert

import "fmt"

// Condition is how an endpoint stands, as far as certificates and settings go. The list is closed. It holds exactly
// the outcomes that hold an endpoint (DESIGN.md section 6), under their names, and Healthy.
type Condition uint8

// The conditions. The zero Condition is not one.
const (
	// Healthy: a handshake succeeded and the receiver answered, whatever its answer was.
	Healthy Condition = iota + 1
	// NotRequested: the receiver did not ask for our certificate.
	NotRequested
	// Refused: the receiver refused our certificate.
	Refused
	// Untrusted: no trusted root, or no pinned key, vouches for the receiver.
	Untrusted
	// OutOfDate: the receiver's certificate is outside its validity.
	OutOfDate
	// NameMismatch: the receiver's certificate is for another name.
	NameMismatch
	// Revoked: the issuer has withdrawn the receiver's certificate.
	Revoked
	// HandshakeFailed: any other failure to agree on TLS.
	HandshakeFailed
	// AddressForbidden: the receiver's name leads to an address that may not be dialled.
	AddressForbidden
	// NoIdentity: our own certificate is missing or unusable.
	NoIdentity
	// NotActivated: the receiver has not agreed to deliveries.
	NotActivated
)

var conditionNames = [...]string{
	Healthy:          "healthy",
	NotRequested:     "client_certificate_not_requested",
	Refused:          "client_certificate_refused",
	Untrusted:        "server_certificate_untrusted",
	OutOfDate:        "server_certificate_expired",
	NameMismatch:     "server_name_mismatch",
	Revoked:          "server_certificate_revoked",
	HandshakeFailed:  "handshake_failed",
	AddressForbidden: "address_forbidden",
	NoIdentity:       "no_identity",
	NotActivated:     "not_activated",
}

// Conditions returns the closed list in its order.
func Conditions() []Condition {
	all := make([]Condition, 0, len(conditionNames)-1)
	for c := Healthy; int(c) < len(conditionNames); c++ {
		all = append(all, c)
	}
	return all
}

// ConditionOf returns the condition that the outcome of an attempt shows. It is false for an outcome that shows
// nothing about certificates, such as timed_out, and for a name that it does not know: an alert is never a guess. "gone"
// is among them, because it also stands for an endpoint that was deleted or disabled here.
func ConditionOf(outcome string) (Condition, bool) {
	switch outcome {
	case "delivered", "rejected", "throttled", "unavailable", "redirected", "not_acknowledged":
		return Healthy, true
	}
	for c := Healthy + 1; int(c) < len(conditionNames); c++ {
		if conditionNames[c] == outcome {
			return c, true
		}
	}
	return 0, false
}

// String is "healthy" or the name of the outcome.
func (c Condition) String() string {
	if c == 0 || int(c) >= len(conditionNames) {
		return "unknown"
	}
	return conditionNames[c]
}

// MarshalText writes the name; a condition outside the list is an error.
func (c Condition) MarshalText() ([]byte, error) {
	if c == 0 || int(c) >= len(conditionNames) {
		return nil, fmt.Errorf("condition %d is not in the closed list", c)
	}
	return []byte(conditionNames[c]), nil
}

// UnmarshalText reads a name of the closed list.
func (c *Condition) UnmarshalText(text []byte) error {
	for _, known := range Conditions() {
		if known.String() == string(text) {
			*c = known
			return nil
		}
	}
	return fmt.Errorf("%q is not a condition", text)
}

// held reports whether the endpoint's deliveries wait.
func (c Condition) held() bool { return c > Healthy }

// begins and ends are the types of event about the time in a condition.
func (c Condition) begins() Type {
	if c == Refused {
		return ClientCertificateRefused
	}
	return EndpointHeld
}

func (c Condition) ends() Type {
	if c == Refused {
		return ClientCertificateAccepted
	}
	return EndpointHealed
}
