package mtls

import (
	"go.opentelemetry.io/otel/trace"
)

// Kind is why an exchange gave no HTTP response, or why a response means that our certificate was refused. The list is
// closed; a dispatcher maps it onto its outcomes with an exhaustive switch.
type Kind uint8

// The kinds. Their names are those of DESIGN.md section 6.
const (
	// ClientCertificateNotRequested: the handshake ended without the receiver asking for our certificate.
	ClientCertificateNotRequested Kind = iota + 1
	// ClientCertificateRefused: by an alert, a cut connection, or a page that says so.
	ClientCertificateRefused
	// ServerCertificateUntrusted: unknown issuer, wrong usage, or no pinned key in the chain.
	ServerCertificateUntrusted
	// ServerCertificateExpired: expired or not yet valid.
	ServerCertificateExpired
	// ServerNameMismatch: no subject alternative name matches (RFC 9525).
	ServerNameMismatch
	// ServerCertificateRevoked: withdrawn by its issuer.
	ServerCertificateRevoked
	// HandshakeFailed: any other failure to agree on TLS.
	HandshakeFailed
	// NameNotResolved: DNS gave no address.
	NameNotResolved
	// ConnectionRefused: nothing listens, or no route.
	ConnectionRefused
	// TimedOut: the deadline passed.
	TimedOut
	// ConnectionLost: the connection ended in the middle of an exchange.
	ConnectionLost
	// AddressForbidden: the address policy refused the address.
	AddressForbidden
	// NoIdentity: the identity source gave none.
	NoIdentity
)

var kindNames = [...]string{
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
	NoIdentity:                    "no_identity",
}

// String is the name in spans and receipts.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Basis says how a failure is known.
type Basis uint8

// The bases.
const (
	// Said: the receiver told us, by alert or by an HTTP answer.
	Said Basis = iota + 1
	// Inferred: concluded from what happened to the connection.
	Inferred
	// Ours: found on this side.
	Ours
)

// Failure is the error of an exchange, in words for a person on call. It never holds a byte of the message.
type Failure struct { //nolint:errname // exported: a new name would break callers
	Kind  Kind
	Basis Basis
	// Status is the HTTP status, where an answer refused our certificate; 0 elsewhere.
	Status int
	// Detail says what happened, and with whom.
	Detail string
	// Advice says what to do and who must do it.
	Advice string
	// Proof is the record of the handshake, nil when there was none.
	Proof *Proof
	// Handshake is the span of the handshake that opened the connection.
	Handshake trace.SpanContext
	// Reused tells that the connection had carried a request before.
	Reused bool
	// BodySent tells that at least one byte of the message body may have left.
	BodySent bool
	cause    error
}

// Error is the detail, then the advice.
func (f *Failure) Error() string {
	if f.Advice == "" {
		return f.Detail
	}
	return f.Detail + ". " + f.Advice
}

// Unwrap gives the technical cause.
func (f *Failure) Unwrap() error { return f.cause }
