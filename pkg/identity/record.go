package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Record is one identity as it is stored. It is a value: what changes it returns
// another one, which counts when it has been stored. However it is printed,
// logged or marshalled, no key appears, not even a sealed one; [Record.Encode]
// writes what is stored.
type Record struct {
	Name      string
	Origin    Origin
	State     State
	Profile   Profile
	Authority string    // the name of the authority that renews; empty unless FromAuthority
	Created   time.Time // when the first key was made or came to us
	Installed time.Time // when the certificate in use was issued or installed; zero while pending
	Requested time.Time // when the request that waits for a certificate was made; zero when none waits
	Retired   time.Time // zero unless retired

	chain   chain
	key     sealedKey // of the certificate in use
	request string    // PEM of the request that waits; empty when none does
	next    sealedKey // of that request
}

// sealedKey is a private key (PKCS #8) in its envelope; nil where there is none.
// It is a function because what one closes over cannot be reached by reflection:
// not even the sealed bytes of a record in somebody's unexported field stand in a
// log.
type sealedKey func() json.RawMessage

func (k sealedKey) raw() json.RawMessage {
	if k == nil {
		return nil
	}
	return k()
}

func sealedOf(envelope []byte) sealedKey {
	if len(envelope) == 0 {
		return nil
	}
	return func() json.RawMessage { return envelope }
}

// chain is a certificate chain, leaf first, with its parsed leaf. Both are there
// or neither is.
type chain struct {
	text string
	leaf *x509.Certificate
}

// newChain makes a chain of DER, leaf first.
func newChain(der [][]byte) (chain, error) {
	if len(der) == 0 {
		return chain{}, errors.New("there is no certificate")
	}
	leaf, err := x509.ParseCertificate(der[0])
	if err != nil {
		return chain{}, fmt.Errorf("read back a certificate: %w", err)
	}
	var text bytes.Buffer
	for _, c := range der {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c}))
	}
	return chain{text: text.String(), leaf: leaf}, nil
}

const (
	certificateBlock = "CERTIFICATE"
	requestBlock     = "CERTIFICATE REQUEST"
	keyBlock         = "PRIVATE KEY"
)

// Key is the key of the record's entry in the bucket.
func (r Record) Key() string { return RecordKey(r.Name) }

// Leaf is the certificate in use, or nil while there is none yet. It is shared:
// read it only.
func (r Record) Leaf() *x509.Certificate { return r.chain.leaf }

// ChainPEM is the certificate in use with its intermediates, leaf first; empty
// while there is none yet.
func (r Record) ChainPEM() string { return r.chain.text }

// RequestPEM is the certificate signing request that waits for its certificate;
// empty when none waits.
func (r Record) RequestPEM() string { return r.request }

// Fingerprint is the SHA-256 of the certificate in use, in lower-case hex; empty
// while there is none yet.
func (r Record) Fingerprint() string { return fingerprint(r.chain.leaf) }

func fingerprint(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// String describes the record without its keys.
func (r Record) String() string {
	if r.chain.leaf == nil {
		return fmt.Sprintf("client identity %q (%s, %s)", r.Name, r.Origin, r.State)
	}
	return fmt.Sprintf("client identity %q (%s, %s, SHA-256 %s, valid until %s)",
		r.Name, r.Origin, r.State, r.Fingerprint(), utc(r.chain.leaf.NotAfter))
}

// GoString is [Record.String].
func (r Record) GoString() string { return r.String() }

// Format writes [Record.String] for every verb.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue is a group of name, origin, state, fingerprint and expiry.
func (r Record) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("name", r.Name), slog.String("origin", r.Origin.String()), slog.String("state", r.State.String()),
	}
	if leaf := r.chain.leaf; leaf != nil {
		attrs = append(attrs, slog.String("fingerprint", r.Fingerprint()), slog.Time("not_after", leaf.NotAfter))
	}
	return slog.GroupValue(attrs...)
}

// shownRecord is a record for people and for --json.
type shownRecord struct {
	Name         string     `json:"name"`
	Origin       Origin     `json:"origin"`
	State        State      `json:"state"`
	Authority    string     `json:"authority,omitempty"`
	CommonName   string     `json:"common_name,omitempty"`
	Organization string     `json:"organization,omitempty"`
	URIs         []string   `json:"uris,omitempty"`
	DNSNames     []string   `json:"dns_names,omitempty"`
	Subject      string     `json:"subject,omitempty"`
	Issuer       string     `json:"issuer,omitempty"`
	Fingerprint  string     `json:"fingerprint,omitempty"`
	NotBefore    *time.Time `json:"not_before,omitempty"`
	NotAfter     *time.Time `json:"not_after,omitempty"`
	RenewAt      *time.Time `json:"renew_at,omitempty"`
	Created      time.Time  `json:"created"`
	Installed    time.Time  `json:"installed,omitzero"`
	Requested    time.Time  `json:"requested,omitzero"`
	Retired      time.Time  `json:"retired,omitzero"`
	Chain        string     `json:"chain,omitempty"`
	Request      string     `json:"request,omitempty"`
}

// MarshalJSON writes everything but the keys, for people and their scripts. It
// cannot be read back: see [DecodeRecord].
func (r Record) MarshalJSON() ([]byte, error) {
	shown := shownRecord{
		Name: r.Name, Origin: r.Origin, State: r.State, Authority: r.Authority,
		CommonName: r.Profile.CommonName, Organization: r.Profile.Organization,
		URIs: r.Profile.URIs, DNSNames: r.Profile.DNSNames,
		Created: r.Created, Installed: r.Installed, Requested: r.Requested, Retired: r.Retired,
		Chain: r.chain.text, Request: r.request, Fingerprint: r.Fingerprint(),
	}
	if leaf := r.chain.leaf; leaf != nil {
		notBefore, notAfter := leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
		shown.Subject, shown.Issuer = leaf.Subject.String(), leaf.Issuer.String()
		shown.NotBefore, shown.NotAfter = &notBefore, &notAfter
	}
	if at := r.RenewAt(); !at.IsZero() {
		shown.RenewAt = &at
	}
	return json.Marshal(shown)
}

// UnmarshalJSON always fails, because what MarshalJSON writes has no keys.
func (r *Record) UnmarshalJSON([]byte) error {
	return errors.New("identity: a record cannot be read from JSON for people, which carries no keys; use DecodeRecord")
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// stamp is a time as it is stored: nobody needs less than a second.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
