package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

// Identity is a client certificate with its key, also one that no delivery could use: then the report says why, and the
// receiver is asked all the same what it makes of it. However it is printed, logged or marshalled, the key does not
// appear. The zero value stands for none.
type Identity struct {
	name    string
	problem error            // why no delivery can use it; nil when one can
	pair    *tls.Certificate // nil when there is nothing to present; a pointer, because fmt follows none inside a struct
	accepts func(*tls.CertificateRequestInfo) error
}

// Of is the identity of a source, as it is now.
func Of(i *mtls.Identity) Identity {
	pair := i.Certificate()
	return Identity{name: i.Name(), pair: &pair, accepts: i.Accepts}
}

// ReadIdentity reads PEM as [mtls.NewIdentity] does, and keeps what that refuses for diagnosis. It never fails: what is
// wrong stands in the report.
func ReadIdentity(name string, certificatePEM, keyPEM []byte, now time.Time) Identity {
	usable, err := mtls.NewIdentity(name, certificatePEM, keyPEM, now)
	if err == nil {
		return Of(usable)
	}
	i := Identity{name: name, problem: err}
	pair, unfit := tls.X509KeyPair(certificatePEM, keyPEM)
	if unfit != nil {
		return i
	}
	i.pair = &pair
	i.accepts = func(info *tls.CertificateRequestInfo) error {
		if err := info.SupportsCertificate(i.pair); err != nil {
			return fmt.Errorf("the receiver's request does not fit client identity %q: %w", name, err)
		}
		return nil
	}
	return i
}

// Name is the name for people.
func (i Identity) Name() string { return i.name }

func (i Identity) given() bool { return i.pair != nil || i.problem != nil }

// leaf is the certificate itself, nil when there is none to present.
func (i Identity) leaf() *x509.Certificate {
	if i.pair == nil {
		return nil
	}
	if i.pair.Leaf != nil {
		return i.pair.Leaf
	}
	leaf, err := x509.ParseCertificate(i.pair.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// issuers are the names that a receiver's list may hold for this identity to be on it.
func (i Identity) issuers() []string {
	if i.pair == nil {
		return nil
	}
	var names []string
	for _, der := range i.pair.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil {
			names = append(names, c.Issuer.String())
		}
	}
	return names
}

// problems are the reasons why no delivery can use it.
func (i Identity) problems() []string {
	if i.problem == nil {
		return nil
	}
	if listed, ok := errors.AsType[*mtls.IdentityError](i.problem); ok {
		return listed.Problems
	}
	return []string{i.problem.Error()}
}

// String names the identity without its key.
func (i Identity) String() string {
	leaf := i.leaf()
	switch {
	case leaf != nil:
		return fmt.Sprintf("%q (%s, issued by %q, valid until %s)", i.name, subject(leaf), leaf.Issuer, date(leaf.NotAfter))
	case i.problem != nil:
		return fmt.Sprintf("%q (unusable)", i.name)
	}
	return "no identity"
}

// Format prints String for every verb, %#v included.
func (i Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.String()) }

// LogValue is String.
func (i Identity) LogValue() slog.Value { return slog.StringValue(i.String()) }

// MarshalJSON writes String.
func (i Identity) MarshalJSON() ([]byte, error) {
	return json.Marshal(i.String())
}

// subject names a certificate for people, who look for what a receiver's configuration would match.
func subject(c *x509.Certificate) string {
	if names := names(c); len(names) > 0 {
		return list(names, 4)
	}
	if s := c.Subject.String(); s != "" {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("serial number %x", c.SerialNumber)
}

// names are the subject alternative names.
func names(c *x509.Certificate) []string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	for _, uri := range c.URIs {
		all = append(all, uri.String())
	}
	return append(all, c.EmailAddresses...)
}

// list keeps a sentence readable.
func list(all []string, most int) string {
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
