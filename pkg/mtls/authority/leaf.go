package authority

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// maxCommonName is the longest common name, in characters (RFC 5280 appendix A,
// ub-common-name).
const maxCommonName = 64

// Leaf is what a certificate shall say. Client or Server, or both, must be set;
// a server needs a DNS name or an address, a client a common name or any
// alternative name.
type Leaf struct {
	CommonName   string
	Organization string
	DNSNames     []string     // ASCII, possibly with a wildcard as the first label
	IPs          []netip.Addr // without zones
	URIs         []*url.URL   // absolute
	Client       bool         // extended key usage clientAuth
	Server       bool         // extended key usage serverAuth

	NotBefore time.Time // zero: a minute ago
	NotAfter  time.Time // zero: the authority's leaf lifetime from now, or as long as the authority

	// Alter, if not nil, changes the template after all checks and just before
	// it is signed. It is how tests get certificates that are wrong on purpose.
	Alter func(template *x509.Certificate)
}

// Issue makes a key and a certificate for it. certificatePEM is the leaf and,
// below an intermediate, the intermediate; keyPEM is PKCS #8. The error tells
// everything that is wrong with the leaf at once.
func (a *Authority) Issue(leaf Leaf) (certificatePEM, keyPEM []byte, err error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	if certificatePEM, err = a.Certify(key.Public(), leaf); err != nil {
		return nil, nil, err
	}
	if keyPEM, err = privateKeyPEM(key); err != nil {
		return nil, nil, err
	}
	return certificatePEM, keyPEM, nil
}

// Certify issues a certificate for a key that somebody else keeps. Whether that
// somebody holds the private half is for the caller to know; [Authority.Answer]
// finds out. certificatePEM and the error are those of [Authority.Issue].
func (a *Authority) Certify(public crypto.PublicKey, leaf Leaf) (certificatePEM []byte, err error) {
	template, err := a.leafTemplate(leaf)
	if err != nil {
		return nil, err
	}
	if leaf.Alter != nil {
		leaf.Alter(template)
	}
	certificate, err := sign(template, a.certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	return a.chainPEM(certificate), nil
}

// Server issues a server certificate for these names, each a DNS name or an IP
// address. The first is also the common name, for people.
func (a *Authority) Server(names ...string) (certificatePEM, keyPEM []byte, err error) {
	leaf := Leaf{Server: true}
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil {
			leaf.IPs = append(leaf.IPs, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	if len(names) > 0 && len(names[0]) <= maxCommonName {
		leaf.CommonName = names[0]
	}
	return a.Issue(leaf)
}

// Client issues a client certificate whose identity is an absolute URI, for
// example spiffe://example.org/dispatcher. It is the common name, too, if it is
// short enough, for receivers that look there.
func (a *Authority) Client(uri string) (certificatePEM, keyPEM []byte, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, nil, fmt.Errorf("client identity: %w", err)
	}
	leaf := Leaf{Client: true, URIs: []*url.URL{u}}
	if len(uri) <= maxCommonName {
		leaf.CommonName = uri
	}
	return a.Issue(leaf)
}

func (a *Authority) leafTemplate(leaf Leaf) (*x509.Certificate, error) {
	now := a.settings.now()
	notBefore, notAfter := leaf.NotBefore, leaf.NotAfter
	if notBefore.IsZero() {
		notBefore = now.Add(-backdate)
	}
	if notAfter.IsZero() {
		notAfter = now.Add(a.settings.lifetime)
		if notAfter.After(a.certificate.NotAfter) {
			notAfter = a.certificate.NotAfter
		}
	}
	problems := leaf.problems()
	if !notBefore.Before(notAfter) {
		problems = append(problems, fmt.Errorf("it would end (%s) before it begins (%s)", rfc3339(notAfter), rfc3339(notBefore)))
	}
	if notAfter.After(a.certificate.NotAfter) {
		problems = append(problems, fmt.Errorf("it would outlive its authority, which ends on %s", rfc3339(a.certificate.NotAfter)))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("authority %q cannot issue %q: %w",
			a.certificate.Subject.CommonName, leaf.CommonName, errors.Join(problems...))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: leaf.CommonName},
		DNSNames:              leaf.DNSNames,
		URIs:                  leaf.URIs,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if leaf.Organization != "" {
		template.Subject.Organization = []string{leaf.Organization}
	}
	for _, ip := range leaf.IPs {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.Unmap().AsSlice()))
	}
	if leaf.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	if leaf.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	return template, nil
}

func (l Leaf) problems() (problems []error) {
	if !l.Client && !l.Server {
		problems = append(problems, errors.New("set Client, Server or both"))
	}
	if l.Server && len(l.DNSNames) == 0 && len(l.IPs) == 0 {
		problems = append(problems, errors.New("a server needs a DNS name or an IP address (RFC 9525: the common name does not count)"))
	}
	if l.Client && l.CommonName == "" && len(l.DNSNames) == 0 && len(l.IPs) == 0 && len(l.URIs) == 0 {
		problems = append(problems, errors.New("a client needs a name of some kind"))
	}
	if len([]rune(l.CommonName)) > maxCommonName {
		problems = append(problems, fmt.Errorf("the common name has more than %d characters", maxCommonName))
	}
	for _, name := range l.DNSNames {
		if !ValidDNSName(name) {
			problems = append(problems, fmt.Errorf("%q is not a DNS name (use the xn-- form for other than ASCII)", name))
		}
	}
	for _, ip := range l.IPs {
		if !ip.IsValid() || ip.Zone() != "" {
			problems = append(problems, fmt.Errorf("%q is not an IP address that a certificate can carry", ip))
		}
	}
	for _, u := range l.URIs {
		if u == nil || !u.IsAbs() {
			problems = append(problems, fmt.Errorf("%q is not an absolute URI", u))
		}
	}
	return problems
}

// ValidDNSName tells whether a name can stand in a certificate as a DNS name. It is
// the preferred name syntax of RFC 1034 section 3.5, with a wildcard allowed as the
// whole first label and underscores tolerated.
func ValidDNSName(name string) bool {
	for label := range strings.SplitSeq(strings.TrimPrefix(name, "*."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			letter := 'a' <= c|0x20 && c|0x20 <= 'z'
			if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return len(name) <= 253
}

// chainPEM leaves the root out: whoever trusts it has it.
func (a *Authority) chainPEM(leaf *x509.Certificate) []byte {
	chain := certificatePEM(leaf)
	if bytes.Equal(a.certificate.RawSubject, a.certificate.RawIssuer) {
		return chain
	}
	return append(chain, a.CertificatePEM()...)
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
