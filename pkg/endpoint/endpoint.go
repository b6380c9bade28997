package endpoint

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"time"
)

// ErrNotParsed is returned for an Endpoint that did not come from Parse or
// Restore: it matches nothing and has no document.
var ErrNotParsed = errors.New("the endpoint did not come from endpoint.Parse")

// Endpoint is one receiver of one tenant. It comes from Parse or Restore and is
// immutable: any number of goroutines may use it, and nobody may write to its
// fields or to what they point to. The zero value matches no event.
type Endpoint struct {
	Tenant string
	Name   string
	// URL is as written in the document. Connect to Authority, whose host is
	// normalised. The path and the query are often secret: do not log them.
	URL         *url.URL
	Description string
	Filter      Filter
	Signature   Signature
	TLS         TLS
	Retry       Retry
	Limits      Limits
	Schema      Schema
	// Activation says how the receiver is asked before anything is delivered.
	Activation Activation
	// Paused says that deliveries wait until the document says otherwise; none is
	// lost, and none counts an attempt.
	Paused bool
	// Ordered is false until a later release brings it to life.
	Ordered bool

	authority string
	document  []byte // canonical JSON
	mark      string // of the activation
}

// Signature says how requests are signed.
type Signature struct {
	// Schemes sign side by side, in the order of the document: "v1", "v1a", and
	// the other names of the schema.
	Schemes []string
	// Template is how the scheme "template" writes its header; empty without it.
	Template Template
	// Algorithms are the only ones that may sign; nil stands for all that are not
	// weak. See Refused.
	Algorithms []string
	// Retiring are schemes that have been removed and still sign for a while, in
	// the order of their names. See Signing.
	Retiring []Retiring
}

// TLS says who Handfast is towards the receiver and whom it accepts.
type TLS struct {
	// Identity names the client certificate.
	Identity string
	Trust    Trust
	// ServerName is the name to verify and to send as SNI (RFC 6066; an IP
	// address is verified only): lower case, punycode, no brackets.
	ServerName string
	Mutual     Mutual
	// MinVersion is the lowest version of TLS that is spoken with the receiver.
	MinVersion MinVersion
}

// Trust says by what the receiver's certificate is accepted.
type Trust struct {
	// Roots are the accepted CAs; nil stands for those of the operating system.
	Roots []*x509.Certificate
	// RootsPEM are the PEM texts of the document that Roots were read from.
	RootsPEM []string
	// Pins are "sha256/" and the base64 of the SHA-256 of a
	// SubjectPublicKeyInfo; none, or at least two.
	Pins []string
	// Revocation says whether the issuer is asked if a certificate has been
	// withdrawn.
	Revocation Revocation
}

// Retry says when a delivery that failed is tried again.
type Retry struct {
	// Schedule holds the waits after attempt 1, 2, …; when it is used up, the
	// delivery has failed for good. There are len(Schedule)+1 attempts.
	Schedule []time.Duration
}

// Limits says how much one dispatcher asks of the receiver.
type Limits struct {
	// Concurrency is the most simultaneous requests of one dispatcher. One that is busy makes fewer to a receiver that is
	// slow; see package dispatcher.
	Concurrency int
	// Timeout runs from the first byte written to the whole response read.
	Timeout time.Duration
}

// StandardSchedule returns the waits that Standard Webhooks 1.0.0 gives as its
// example: ten attempts, the last 75:35:05 after the first. The caller owns it.
func StandardSchedule() []time.Duration {
	return []time.Duration{
		5 * time.Second,
		5 * time.Minute,
		30 * time.Minute,
		2 * time.Hour,
		5 * time.Hour,
		10 * time.Hour,
		14 * time.Hour,
		20 * time.Hour,
		24 * time.Hour,
	}
}

// Key returns the endpoint's name among all tenants.
func (e *Endpoint) Key() Key { return Key{Tenant: e.Tenant, Name: e.Name} }

// Authority returns host:port of the URL in one spelling, so that it can key a
// pool: the port is always there, the host is lower case and punycode (RFC 5891,
// UTS 46), an IPv6 address stands in brackets and in its RFC 5952 form.
func (e *Endpoint) Authority() string { return e.authority }

// Match reports whether the endpoint wants the event. It does not look at the
// tenant: ask Registry.Tenant for the endpoints of the event's tenant. CESQL is
// evaluated only after a type pattern matched; when that fails, the answer is
// false with a *FilterError.
func (e *Endpoint) Match(ev Event) (bool, error) {
	if e.document == nil {
		return false, ErrNotParsed
	}
	if !e.Filter.matchesType(ev.Type()) {
		return false, nil
	}
	if e.Filter.expression == nil {
		return true, nil
	}
	matched, err := evaluate(e.Filter.expression, ev.CloudEvent())
	if err != nil {
		return false, &FilterError{Endpoint: e.Key(), Expression: e.Filter.CESQL, Err: err}
	}
	return matched, nil
}

// MarshalJSON returns the document in canonical form: what was given and nothing
// else (no defaults), as JSON with sorted keys and without white space. Parse
// accepts it and yields an equal endpoint.
func (e *Endpoint) MarshalJSON() ([]byte, error) {
	if e.document == nil {
		return nil, ErrNotParsed
	}
	return slices.Clone(e.document), nil
}

// String returns the key: the URL may hold a secret and is not shown.
func (e *Endpoint) String() string { return e.Key().String() }

// GoString returns the key with the type's name, for the same reason.
func (e *Endpoint) GoString() string { return "endpoint.Endpoint(" + e.String() + ")" }

// LogValue implements slog.LogValuer, for the same reason as String.
func (e *Endpoint) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("tenant", e.Tenant),
		slog.String("name", e.Name),
		slog.String("authority", e.authority),
	)
}
