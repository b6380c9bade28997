package mtls

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// ErrNoIdentity is matched (errors.Is) by every error of a [Source] that has
// nothing to present at the moment. Nothing can be sent until somebody acts on
// the words around it.
var ErrNoIdentity = errors.New("no usable client identity")

// Identity is a client certificate with its chain and private key: who we are
// when a receiver asks. It never changes after [NewIdentity] made it, so it may
// be shared by any number of goroutines. However it is printed, logged or
// marshalled, the private key does not appear.
type Identity struct {
	name        string
	fingerprint string
	generation  string
	issuers     [][]byte // RawIssuer of every chain element, leaf first

	// A pointer, because fmt follows no pointer inside a struct: not even a
	// printed copy of an Identity, which has no methods, reaches the key.
	// certificate gives the pair. It is a function because package fmt, given a verb that does not fit, prints what
	// pointers in a copied struct lead to, and here that is a private key.
	certificate func() *tls.Certificate
}

// NewIdentity reads a certificate chain and its private key from PEM and checks
// that the pair will work as a client identity at the time now. It accepts the
// chain in any order and repairs it (leaf first, each certificate followed by
// its issuer); certificatePEM and keyPEM may be the same combined text. The
// name is for people: logs, receipts and errors carry it.
//
// The error is an [*IdentityError] with every problem at once.
func NewIdentity(name string, certificatePEM, keyPEM []byte, now time.Time) (*Identity, error) {
	key, problems := parsePrivateKey(keyPEM)
	return newIdentity(name, certificatePEM, key, problems, now)
}

// newIdentity joins a chain with a key, wherever that is kept. The problems that
// were found with the key come after those of the PEM text.
func newIdentity(name string, certificatePEM []byte, key crypto.Signer, keyProblems []string, now time.Time) (*Identity, error) {
	certificates, problems := parseCertificates(certificatePEM)
	problems = append(problems, keyProblems...)

	if len(certificates) > 0 {
		leaf, err := findLeaf(certificates, key)
		if err != nil {
			problems = append(problems, err.Error())
		}
		chain, strays := chainOrder(leaf, certificates)
		problems = append(problems, strays...)
		problems = append(problems, checkLeaf(chain[0], now)...)
		problems = append(problems, checkIssuers(chain[1:], now)...)
		certificates = chain
	}
	if len(problems) > 0 {
		return nil, &IdentityError{Name: name, Problems: problems}
	}

	pair := &tls.Certificate{PrivateKey: key, Leaf: certificates[0]}
	issuers := make([][]byte, 0, len(certificates))
	generation := sha256.New()
	for _, c := range certificates {
		pair.Certificate = append(pair.Certificate, c.Raw)
		issuers = append(issuers, c.RawIssuer)
		generation.Write(c.Raw) // DER carries its own length: no separator is needed
	}
	leaf := sha256.Sum256(certificates[0].Raw)
	return &Identity{
		name:        name,
		fingerprint: hex.EncodeToString(leaf[:]),
		generation:  hex.EncodeToString(generation.Sum(nil)),
		issuers:     issuers,
		certificate: func() *tls.Certificate { return pair },
	}, nil
}

// Name is the name that [NewIdentity] was given.
func (i *Identity) Name() string { return i.name }

// Certificate is the chain with the private key, ready for
// tls.Config.GetClientCertificate. The slice of certificates is the caller's
// own; the bytes inside are shared and must not be written to.
func (i *Identity) Certificate() tls.Certificate {
	c := *i.certificate()
	c.Certificate = slices.Clone(c.Certificate)
	return c
}

// Leaf is the parsed client certificate. It is shared: read it only.
func (i *Identity) Leaf() *x509.Certificate { return i.certificate().Leaf }

// Fingerprint is the SHA-256 of the leaf's DER in lower-case hex: the name by
// which a receiver's operator finds this certificate.
func (i *Identity) Fingerprint() string { return i.fingerprint }

// Generation is the SHA-256 of the whole chain's DER in lower-case hex. It
// changes with the leaf, and also when only an intermediate was added or
// replaced, which existing connections need to learn of just the same.
func (i *Identity) Generation() string { return i.generation }

// Accepts tells whether a receiver that sent this certificate request will
// consider the identity at all: its list of acceptable CAs, if it sent one, must
// name the issuer of some certificate of the chain, and its signature algorithms
// must fit the key (RFC 8446 sections 4.2.3 and 4.2.4, RFC 5246 section 7.4.4).
// Names are compared byte for byte, as crypto/tls does.
//
// The error is a [*NotAcceptedError]. A nil error promises nothing about the
// receiver's verdict: that only comes after the certificate was sent.
func (i *Identity) Accepts(info *tls.CertificateRequestInfo) error {
	if len(info.AcceptableCAs) > 0 && !i.issuedByOneOf(info.AcceptableCAs) {
		return &NotAcceptedError{
			Identity:      i.name,
			Issuer:        i.certificate().Leaf.Issuer.String(),
			AcceptableCAs: distinguishedNames(info.AcceptableCAs),
		}
	}
	if err := info.SupportsCertificate(i.certificate()); err != nil {
		return &NotAcceptedError{Identity: i.name, Issuer: i.certificate().Leaf.Issuer.String(), Err: err}
	}
	return nil
}

func (i *Identity) issuedByOneOf(names [][]byte) bool {
	return slices.ContainsFunc(i.issuers, func(issuer []byte) bool {
		return slices.ContainsFunc(names, func(name []byte) bool { return bytes.Equal(issuer, name) })
	})
}

// CheckTime tells, in words, why the identity cannot be used at the time now:
// its certificate has expired or is not valid yet. The error is an
// [*IdentityError].
func (i *Identity) CheckTime(now time.Time) error {
	leaf := i.certificate().Leaf
	if !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter) {
		return nil
	}
	return &IdentityError{Name: i.name, Problems: checkValidity(certificateLabel(leaf), leaf, now)}
}

// String names the identity without its key.
func (i *Identity) String() string {
	if i.certificate == nil {
		return "identity (none)"
	}
	return fmt.Sprintf("identity %q (%s, SHA-256 %s, valid until %s)",
		i.name, certificateLabel(i.certificate().Leaf), i.fingerprint, utc(i.certificate().Leaf.NotAfter))
}

// Format prints String for every verb, %#v included.
func (i *Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.String()) }

// LogValue is a group of name, subject, fingerprint and expiry.
func (i *Identity) LogValue() slog.Value {
	if i.certificate == nil {
		return slog.StringValue(i.String())
	}
	return slog.GroupValue(
		slog.String("name", i.name),
		slog.String("subject", i.certificate().Leaf.Subject.String()),
		slog.String("fingerprint", i.fingerprint),
		slog.Time("not_after", i.certificate().Leaf.NotAfter),
	)
}

// MarshalJSON writes the same four things as LogValue.
func (i *Identity) MarshalJSON() ([]byte, error) {
	shown := struct {
		Name        string    `json:"name"`
		Subject     string    `json:"subject"`
		Fingerprint string    `json:"fingerprint"`
		NotAfter    time.Time `json:"not_after"`
	}{Name: i.name, Fingerprint: i.fingerprint}
	if i.certificate != nil {
		shown.Subject = i.certificate().Leaf.Subject.String()
		shown.NotAfter = i.certificate().Leaf.NotAfter.UTC()
	}
	return json.Marshal(shown)
}

// Source is where an identity comes from: a file that is re-read, a store, a CA
// that renews. Identity returns the current one as a snapshot; it is cheap,
// never blocks and may be called for every connection. Its error matches
// [ErrNoIdentity] and says why there is none.
type Source interface {
	Identity() (*Identity, error)
}

// Static is the source of an identity that never changes.
func Static(i *Identity) Source { return staticSource{i} }

type staticSource struct{ identity *Identity }

func (s staticSource) Identity() (*Identity, error) {
	if s.identity == nil {
		return nil, fmt.Errorf("%w: none was configured", ErrNoIdentity)
	}
	return s.identity, nil
}
