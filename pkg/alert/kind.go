package alert

import (
	"fmt"
	"log/slog"
)

// Kind is what a certificate is to us. The list is closed; the zero value is no kind.
type Kind uint8

// The kinds of certificate that alerts are about.
const (
	// Identity is a client certificate that we present. Its subject is the identity's name.
	Identity Kind = iota + 1
	// Authority is the certificate of a CA of ours. Its subject is the authority's name.
	Authority
	// Server is the certificate that a receiver presented. Its subject is the endpoint's key.
	Server
	// Root is a CA certificate out of an endpoint's trust. Its subject is the endpoint's key. An endpoint may have
	// several at once, so one does not take the place of another.
	Root
)

// Kinds returns the closed list in its order.
func Kinds() []Kind { return []Kind{Identity, Authority, Server, Root} }

// String is the kind's name in events, metrics and memory.
func (k Kind) String() string {
	switch k {
	case Identity:
		return "identity"
	case Authority:
		return "authority"
	case Server:
		return "server"
	case Root:
		return "root"
	default:
		return "unknown"
	}
}

// MarshalText writes the name; a kind outside the list is an error.
func (k Kind) MarshalText() ([]byte, error) {
	if k.String() == "unknown" {
		return nil, fmt.Errorf("certificate kind %d is not in the closed list", k)
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads a name of the closed list.
func (k *Kind) UnmarshalText(text []byte) error {
	for _, known := range Kinds() {
		if known.String() == string(text) {
			*k = known
			return nil
		}
	}
	return fmt.Errorf("%q is not a kind of certificate", text)
}

// ofEndpoint reports whether the subject is the key of an endpoint.
func (k Kind) ofEndpoint() bool { return k == Server || k == Root }

// expiring and expired are the types of event about a certificate of this kind.
func (k Kind) expiring() Type {
	switch k {
	case Identity:
		return IdentityExpiring
	case Authority:
		return AuthorityExpiring
	case Server:
		return ServerCertificateExpiring
	case Root:
		return RootExpiring
	}
	return ""
}

func (k Kind) expired() Type {
	switch k {
	case Identity:
		return IdentityExpired
	case Authority:
		return AuthorityExpired
	case Server:
		return ServerCertificateExpired
	case Root:
		return RootExpired
	}
	return ""
}

// Type is the CloudEvents type of an alert, which is also the end of its NATS subject: events.handfast.<type>, where
// [Tenant] is the tenant. The list is closed.
type Type string

// The types of alert.
const (
	IdentityExpiring  Type = "handfast.identity.expiring"
	IdentityExpired   Type = "handfast.identity.expired"
	AuthorityExpiring Type = "handfast.authority.expiring"
	AuthorityExpired  Type = "handfast.authority.expired"

	ServerCertificateExpiring Type = "handfast.endpoint.server_certificate_expiring"
	ServerCertificateExpired  Type = "handfast.endpoint.server_certificate_expired"

	RootExpiring Type = "handfast.trust.root_expiring"
	RootExpired  Type = "handfast.trust.root_expired"

	// ClientCertificateRefused and ClientCertificateAccepted frame the time in which a receiver refuses us.
	ClientCertificateRefused  Type = "handfast.endpoint.client_certificate_refused"
	ClientCertificateAccepted Type = "handfast.endpoint.client_certificate_accepted"
	// EndpointHeld and EndpointHealed frame the time in which anything else holds an endpoint; the data says what.
	EndpointHeld   Type = "handfast.endpoint.held"
	EndpointHealed Type = "handfast.endpoint.healed"

	RotationStarted    Type = "handfast.rotation.started"
	RotationCompleted  Type = "handfast.rotation.completed"
	RotationRolledBack Type = "handfast.rotation.rolled_back"
	RotationStalled    Type = "handfast.rotation.stalled"
)

// Types returns the closed list in its order.
func Types() []Type {
	return []Type{
		IdentityExpiring, IdentityExpired, AuthorityExpiring, AuthorityExpired,
		ServerCertificateExpiring, ServerCertificateExpired, RootExpiring, RootExpired,
		ClientCertificateRefused, ClientCertificateAccepted, EndpointHeld, EndpointHealed,
		RotationStarted, RotationCompleted, RotationRolledBack, RotationStalled,
	}
}

// level is how loud the type is in the log: good news is information.
func (t Type) level() slog.Level {
	switch t {
	case ClientCertificateAccepted, EndpointHealed, RotationStarted, RotationCompleted:
		return slog.LevelInfo
	case IdentityExpiring, IdentityExpired, AuthorityExpiring, AuthorityExpired,
		ServerCertificateExpiring, ServerCertificateExpired, RootExpiring, RootExpired,
		ClientCertificateRefused, EndpointHeld, RotationRolledBack, RotationStalled:
	}
	return slog.LevelWarn
}
