package identity

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// WarningKind is what a [Warning] is about; a closed list.
type WarningKind uint8

// The closed list of warnings.
const (
	// PublicAuthority: a public CA issued the certificate, and these are ending
	// client certificates.
	PublicAuthority WarningKind = iota + 1
	// LongLived: it is valid for more than 398 days.
	LongLived
	// ExpiresSoon: little is left of its life.
	ExpiresSoon
	// NoAlternativeName: receivers that follow RFC 9525 find no name in it.
	NoAlternativeName
	// NoUsage: it does not say what it may be used for.
	NoUsage
	// AuthorityEndsSoon: an authority of ours expires within a year.
	AuthorityEndsSoon
)

// String is the warning's word for machines.
func (k WarningKind) String() string {
	switch k {
	case PublicAuthority:
		return "public_authority"
	case LongLived:
		return "long_lived"
	case ExpiresSoon:
		return "expires_soon"
	case NoAlternativeName:
		return "no_alternative_name"
	case NoUsage:
		return "no_usage"
	case AuthorityEndsSoon:
		return "authority_ends_soon"
	}
	return fmt.Sprintf("WarningKind(%d)", uint8(k))
}

// MarshalText writes the warning's word.
func (k WarningKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Warning is something that is allowed and yet will make trouble.
type Warning struct {
	Kind WarningKind `json:"kind"`
	Text string      `json:"text"` // what, and what to do about it
}

// String is the warning in words.
func (w Warning) String() string { return w.Text }

// soon is the first of the alerts' steps.
const soon = 30 * 24 * time.Hour

// Warnings tells what a person should know about the certificate in use.
func (r Record) Warnings(now time.Time) (warnings []Warning) {
	leaf := r.chain.leaf
	if leaf == nil || r.State != Active {
		return nil
	}
	add := func(kind WarningKind, format string, args ...any) {
		warnings = append(warnings, Warning{kind, fmt.Sprintf(format, args...)})
	}
	if text := publicAuthority(parsePEM([]byte(r.chain.text))); text != "" {
		add(PublicAuthority, "%s", text)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > maxLifetime {
		add(LongLived, "the certificate is valid for %d days: whoever steals its key can use it as long; ask for %d days or less, or let an authority of Handfast renew it every few days",
			days(life), days(maxLifetime))
	}
	if left := leaf.NotAfter.Sub(now); left < soon && left < leaf.NotAfter.Sub(leaf.NotBefore)/4 {
		add(ExpiresSoon, "%s", r.expiry(left))
	}
	if len(leaf.URIs)+len(leaf.DNSNames)+len(leaf.EmailAddresses)+len(leaf.IPAddresses) == 0 {
		add(NoAlternativeName, "the certificate has no subject alternative name: receivers can tell it by its common name only, which RFC 9525 no longer allows")
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 {
		add(NoUsage, "the certificate does not say what it may be used for: some receivers demand the extended key usage clientAuth")
	}
	return warnings
}

// Warnings tells what a person should know about the authority.
func (a Authority) Warnings(now time.Time) []Warning {
	if a.root.leaf == nil || a.State == AuthorityRetired {
		return nil
	}
	const year = 365 * 24 * time.Hour
	if left := a.root.leaf.NotAfter.Sub(now); left < year && a.root.leaf.NotAfter.Sub(a.root.leaf.NotBefore) > year {
		return []Warning{{AuthorityEndsSoon, fmt.Sprintf("%s ends on %s (%d days left): create its successor, give receivers the new bundle, and rotate to an identity under it",
			authorityLabel(a.Name), utc(a.root.leaf.NotAfter), days(left))}}
	}
	return nil
}

func (r Record) expiry(left time.Duration) string {
	when := fmt.Sprintf("the certificate expires on %s (%d days left)", utc(r.chain.leaf.NotAfter), days(left))
	if left < 0 {
		when = "the certificate expired on " + utc(r.chain.leaf.NotAfter)
	}
	return when + ": " + r.remedy()
}

// remedy says how the next certificate is got.
func (r Record) remedy() string {
	switch r.Origin {
	case FromAuthority:
		return fmt.Sprintf("authority %q should have renewed it by now; the dispatchers' logs say why it did not", r.Authority)
	case Requested:
		if r.next != nil {
			return fmt.Sprintf("have the request of %s signed, then install what comes back", utc(r.Requested))
		}
		return "make the request for its successor (handfast identity csr), have it signed, then install what comes back"
	case Imported:
	}
	return "import its successor as another identity and rotate to that"
}

func days(d time.Duration) int { return int(d / (24 * time.Hour)) }

// ending is a public CA, by words that its issuing certificates carry as their
// organization, and what it has announced.
type ending struct{ words, announced string }

// everyOther is the rule that every CA in browsers has to follow (Chrome Root
// Program 1.8).
const everyOther = "from 2027-03-15 browsers demand of public CAs that they issue for servers only"

// publicAuthorities follows the announcements of the CAs themselves.
func publicAuthorities() []ending {
	const (
		digicert = "DigiCert issues certificates for client authentication on request only since 2025-10-01 and ends them on 2027-03-01"
		encrypt  = "Let's Encrypt has issued no certificate for client authentication since 2026-07-08"
		sectigo  = "Sectigo issues certificates for client authentication on request only since 2025-10-07 and ends them on 2027-02-10"
	)
	others := []string{
		"globalsign", "godaddy", "starfield", "entrust", "google trust services", "amazon", "identrust", "ssl corp", "ssl.com",
		"actalis", "buypass", "asseco", "unizeto", "swisssign", "hellenic academic", "harica", "telekom security", "d-trust",
		"microsoft corporation", "certainly", "trustwave", "viking cloud", "network solutions", "gandi",
	}
	list := make([]ending, 0, len(others)+11)
	list = append(list, []ending{
		{"digicert", digicert},
		{"geotrust", digicert},
		{"thawte", digicert},
		{"rapidssl", digicert},
		{"quovadis", digicert},
		{"let's encrypt", encrypt},
		{"internet security research group", encrypt},
		{"sectigo", sectigo},
		{"comodo", sectigo},
		{"usertrust", sectigo},
		{"zerossl", sectigo},
	}...)
	for _, words := range others {
		list = append(list, ending{words, everyOther})
	}
	return list
}

// publicAuthority says which public CA seems to have issued a chain, or "".
func publicAuthority(certificates []*x509.Certificate) string {
	for _, c := range certificates {
		for _, organization := range c.Issuer.Organization {
			at := slices.IndexFunc(publicAuthorities(), func(e ending) bool {
				return strings.Contains(strings.ToLower(organization), e.words)
			})
			if at >= 0 {
				return fmt.Sprintf("its issuer %q looks like a public CA: %s; move to an authority of Handfast, or to the receiver's own CA, before this certificate ends",
					organization, publicAuthorities()[at].announced)
			}
		}
	}
	return ""
}
