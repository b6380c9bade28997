package delivery

import "fmt"

// Outcome is what one attempt ended in. The list is closed: it drives control flow, is the metric label and stands in
// the receipt. The zero value is not an outcome; it marks an attempt that nobody has judged yet.
type Outcome uint8

// The outcomes of DESIGN.md section 6, in its order.
const (
	// Delivered: the receiver answered 2xx.
	Delivered Outcome = iota + 1

	// Rejected: a 4xx that will not change by trying again.
	Rejected
	// Gone: 410, or the endpoint was deleted or disabled on our side.
	Gone
	// Throttled: 429.
	Throttled
	// Unavailable: 5xx, and the 4xx that say "not now" (408, 425).
	Unavailable
	// Redirected: 3xx, which is never followed.
	Redirected
	// NotAcknowledged: 2xx without the acknowledgement that the endpoint's activation demands in every answer.
	NotAcknowledged
	// NotActivated: the receiver has not agreed to deliveries, or does not any more.
	NotActivated

	// ClientCertificateNotRequested: the receiver did not ask for our certificate, so nothing was sent.
	ClientCertificateNotRequested
	// ClientCertificateRefused: the receiver refused our certificate.
	ClientCertificateRefused
	// ServerCertificateUntrusted: no trusted root, or no pinned key, vouches for the receiver.
	ServerCertificateUntrusted
	// ServerCertificateExpired: outside its validity, in either direction.
	ServerCertificateExpired
	// ServerNameMismatch: the receiver's certificate is for another name.
	ServerNameMismatch
	// ServerCertificateRevoked: the issuer has withdrawn the receiver's certificate.
	ServerCertificateRevoked
	// HandshakeFailed: any other failure to agree on TLS.
	HandshakeFailed

	// NameNotResolved: DNS gave no address.
	NameNotResolved
	// ConnectionRefused: nothing listens there, or there is no way to it.
	ConnectionRefused
	// TimedOut: no complete answer within the endpoint's timeout.
	TimedOut
	// ConnectionLost: the connection ended in the middle of the exchange.
	ConnectionLost
	// AddressForbidden: the name leads to a private or reserved address.
	AddressForbidden

	// StaleSignature: signed too long ago to be sent.
	StaleSignature
	// NoIdentity: our own certificate is missing or unusable.
	NoIdentity
	// LaneFull: the endpoint's lane in this dispatcher has no room.
	LaneFull
)

var outcomeNames = [...]string{
	Delivered:                     "delivered",
	Rejected:                      "rejected",
	Gone:                          "gone",
	Throttled:                     "throttled",
	Unavailable:                   "unavailable",
	Redirected:                    "redirected",
	NotAcknowledged:               "not_acknowledged",
	NotActivated:                  "not_activated",
	ClientCertificateNotRequested: "client_certificate_not_requested",
	ClientCertificateRefused:      "client_certificate_refused",
	ServerCertificateUntrusted:    "server_certificate_untrusted",
	ServerCertificateExpired:      "server_certificate_expired",
	ServerNameMismatch:            "server_name_mismatch",
	ServerCertificateRevoked:      "server_certificate_revoked",
	HandshakeFailed:               "handshake_failed",
	NameNotResolved:               "name_not_resolved",
	ConnectionRefused:             "connection_refused",
	TimedOut:                      "timed_out",
	ConnectionLost:                "connection_lost",
	AddressForbidden:              "address_forbidden",
	StaleSignature:                "stale_signature",
	NoIdentity:                    "no_identity",
	LaneFull:                      "lane_full",
}

// Outcomes returns the closed list in its order.
func Outcomes() []Outcome {
	all := make([]Outcome, 0, len(outcomeNames)-1)
	for o := Delivered; int(o) < len(outcomeNames); o++ {
		all = append(all, o)
	}
	return all
}

// String is the outcome's name in metrics, receipts and spans.
func (o Outcome) String() string {
	if o == 0 || int(o) >= len(outcomeNames) {
		return "unknown"
	}
	return outcomeNames[o]
}

// MarshalText writes the name; an unknown outcome is an error, because a receipt must never carry one.
func (o Outcome) MarshalText() ([]byte, error) {
	if o == 0 || int(o) >= len(outcomeNames) {
		return nil, fmt.Errorf("outcome %d is not in the closed list", o)
	}
	return []byte(outcomeNames[o]), nil
}

// UnmarshalText reads a name of the closed list.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomeNames {
		if name != "" && name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not an outcome", text)
}

// Turn says what an outcome asks for, before attempts and time are counted.
type Turn uint8

// The turns.
const (
	// TurnDone: nothing more to do.
	TurnDone Turn = iota + 1
	// TurnRetry: try again on the endpoint's schedule, then dead letter.
	TurnRetry
	// TurnHold: try again until it works; somebody must mend a certificate or a setting, or agree.
	TurnHold
	// TurnSign: sign again and send; it costs no attempt.
	TurnSign
	// TurnDrop: dead letter at once.
	TurnDrop
	// TurnDisable: dead letter at once and switch the endpoint off.
	TurnDisable
)

// Turn is the single table from outcome to what comes next.
func (o Outcome) Turn() Turn {
	switch o {
	case Delivered:
		return TurnDone
	case Rejected:
		return TurnDrop
	case Gone:
		return TurnDisable
	case Throttled, Unavailable, Redirected, NotAcknowledged,
		NameNotResolved, ConnectionRefused, TimedOut, ConnectionLost:
		return TurnRetry
	case ClientCertificateNotRequested, ClientCertificateRefused, ServerCertificateUntrusted,
		ServerCertificateExpired, ServerNameMismatch, ServerCertificateRevoked, HandshakeFailed,
		AddressForbidden, NoIdentity, NotActivated:
		return TurnHold
	case StaleSignature, LaneFull:
		return TurnSign
	}
	// An unknown outcome keeps the delivery: holding is the only turn that can lose nothing.
	return TurnHold
}

// Hold reports whether the outcome keeps a delivery for as long as its event lives instead of counting attempts.
func (o Outcome) Hold() bool { return o.Turn() == TurnHold }

// Origin keeps "the receiver said so" apart from "we inferred it".
type Origin uint8

// The origins.
const (
	// Said: an HTTP status or a TLS alert from the receiver.
	Said Origin = iota + 1
	// Inferred: concluded from what happened to the connection.
	Inferred
	// Ours: decided on this side, before the receiver had a say.
	Ours
)

var originNames = [...]string{Said: "said", Inferred: "inferred", Ours: "ours"}

// String is the origin's name in receipts.
func (o Origin) String() string {
	if o == 0 || int(o) >= len(originNames) {
		return "unknown"
	}
	return originNames[o]
}

// MarshalText writes the name; an unknown origin is an error.
func (o Origin) MarshalText() ([]byte, error) {
	if o == 0 || int(o) >= len(originNames) {
		return nil, fmt.Errorf("origin %d is not in the closed list", o)
	}
	return []byte(originNames[o]), nil
}

// UnmarshalText reads a name of the closed list.
func (o *Origin) UnmarshalText(text []byte) error {
	for i, name := range originNames {
		if name != "" && name == string(text) {
			*o = Origin(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not an origin", text)
}
