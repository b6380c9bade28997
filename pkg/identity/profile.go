package identity

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

const (
	defaultLifetime = 7 * 24 * time.Hour
	minLifetime     = time.Hour
	// maxLifetime is the longest that any public CA was ever allowed lately; a
	// private one has no reason for more.
	maxLifetime = 398 * 24 * time.Hour

	maxCommonName = 64 // RFC 5280 appendix A, ub-common-name
	maxNames      = 20
)

// Profile is what an identity's certificates say. Receivers match alternative
// names (RFC 9525), so these are what counts; the common name and organization
// are for people and for old receivers.
type Profile struct {
	CommonName   string        // at most 64 characters; the first name that fits when empty
	Organization string        // may be empty
	URIs         []string      // absolute, for example spiffe://example.org/handfast
	DNSNames     []string      // ASCII
	Lifetime     time.Duration // of each certificate that our authority issues; 7 days when zero
}

// Names are all alternative names, as receivers' configurations write them.
func (p Profile) Names() []string { return slices.Concat(p.URIs, p.DNSNames) }

func (p Profile) clone() Profile {
	p.URIs, p.DNSNames = slices.Clone(p.URIs), slices.Clone(p.DNSNames)
	return p
}

// complete fills in what was left to us.
func (p Profile) complete() Profile {
	p = p.clone()
	if p.CommonName == "" {
		for _, name := range p.Names() {
			if len(name) <= maxCommonName {
				p.CommonName = name
				break
			}
		}
	}
	return p
}

// problems says what is wrong with the names that somebody wants to have.
func (p Profile) problems() (wrong problems) {
	if len(p.URIs) == 0 && len(p.DNSNames) == 0 {
		wrong.addf("it has no alternative name: give a URI (for example spiffe://example.org/handfast) or a DNS name, by which receivers know it")
	}
	if n := len(p.URIs) + len(p.DNSNames); n > maxNames {
		wrong.addf("it has %d alternative names; at most %d make sense", n, maxNames)
	}
	if len([]rune(p.CommonName)) > maxCommonName {
		wrong.addf("the common name has more than %d characters", maxCommonName)
	}
	for _, text := range p.URIs {
		u, err := url.Parse(text)
		switch {
		case err != nil || !u.IsAbs() || (u.Host == "" && u.Opaque == "") || !printableASCII(text):
			wrong.addf("%q is not an absolute URI", text)
		case u.String() != text:
			// Receivers compare character by character.
			wrong.addf("%q would stand in the certificate as %q: write it like that", text, u)
		}
	}
	for _, name := range p.DNSNames {
		// A wildcard would be a name for many, which an identity must not be.
		if !authority.ValidDNSName(name) || strings.Contains(name, "*") {
			wrong.addf("%q is not a DNS name (use the xn-- form for other than ASCII, and no wildcard)", name)
		}
	}
	return wrong
}

func (p Profile) lifetimeProblems() (wrong problems) {
	if p.Lifetime < minLifetime || p.Lifetime > maxLifetime {
		wrong.addf("its certificates would be valid for %s; give %s to %s (days are good: they are renewed automatically)", p.Lifetime, minLifetime, maxLifetime)
	}
	return wrong
}

// printableASCII is what a URI in a certificate consists of (IA5String, without
// blanks and control characters).
func printableASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// missing says which of the wanted names a certificate lacks.
func (p Profile) missing(c *x509.Certificate) (wrong problems) {
	has := make([]string, 0, len(c.URIs))
	for _, u := range c.URIs {
		has = append(has, u.String())
	}
	for _, want := range p.URIs {
		if !slices.Contains(has, want) {
			wrong.addf("the certificate lacks the URI %q that was asked for%s; have it issued again with this subject alternative name", want, listed(has))
		}
	}
	for _, want := range p.DNSNames {
		if !slices.ContainsFunc(c.DNSNames, func(have string) bool { return strings.EqualFold(want, have) }) {
			wrong.addf("the certificate lacks the DNS name %q that was asked for%s; have it issued again with this subject alternative name", want, listed(c.DNSNames))
		}
	}
	return wrong
}

func listed(names []string) string {
	const most = 5
	if len(names) == 0 {
		return ""
	}
	if len(names) > most {
		return fmt.Sprintf(" (it has %q and %d more)", names[:most], len(names)-most)
	}
	return fmt.Sprintf(" (it has %q)", names)
}

// profileOf reads the names that a certificate has.
func profileOf(c *x509.Certificate) Profile {
	p := Profile{CommonName: c.Subject.CommonName, DNSNames: slices.Clone(c.DNSNames)}
	if len(c.Subject.Organization) > 0 {
		p.Organization = c.Subject.Organization[0]
	}
	for _, u := range c.URIs {
		p.URIs = append(p.URIs, u.String())
	}
	return p
}
