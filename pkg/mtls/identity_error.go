package mtls

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// IdentityError is why a certificate and a key do not make an [Identity].
type IdentityError struct {
	Name     string   // the identity's name
	Problems []string // every problem, each a clause in words; never empty
}

// Error tells all problems in one line.
func (e *IdentityError) Error() string {
	return fmt.Sprintf("client identity %q cannot be used: %s", e.Name, strings.Join(e.Problems, "; "))
}

// NotAcceptedError is why a receiver's certificate request rules an identity
// out. Nothing was sent yet when it is returned, so this is the exact and early
// form of a refused certificate.
type NotAcceptedError struct {
	Identity      string   // the identity's name
	Issuer        string   // who issued its certificate
	AcceptableCAs []string // the receiver's list; empty when the list was not the reason
	Err           error    // what does not fit about the key or its algorithms; nil when the list was the reason
}

// Error says what to do about it, too.
func (e *NotAcceptedError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("the receiver cannot use client identity %q: %v; "+
			"issue it with a kind of key that the receiver supports", e.Identity, e.Err)
	}
	return fmt.Sprintf("the receiver does not accept client identity %q: it was issued by %q, and the receiver accepts only %s; "+
		"ask the receiver to trust that issuer, or, if the list names a CA further up, add the intermediate certificates to the identity",
		e.Identity, e.Issuer, quotedList(e.AcceptableCAs))
}

// Unwrap is Err.
func (e *NotAcceptedError) Unwrap() error { return e.Err }

func distinguishedNames(raw [][]byte) []string {
	names := make([]string, 0, len(raw))
	for _, der := range raw {
		names = append(names, distinguishedName(der))
	}
	return names
}

// quotedList keeps an error readable: a receiver that trusts the public CAs can
// list more than a hundred.
func quotedList(names []string) string {
	const most = 5
	var b strings.Builder
	for n, name := range names {
		if n == most {
			fmt.Fprintf(&b, " and %d more", len(names)-most)
			break
		}
		if n > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}

// certificateLabel names a certificate for people: by its subject, or, since a
// subject may be empty, by its first alternative name or its serial number.
func certificateLabel(c *x509.Certificate) string {
	switch {
	case c.Subject.String() != "":
		return fmt.Sprintf("certificate %q", c.Subject.String())
	case len(c.URIs) > 0:
		return fmt.Sprintf("certificate %q", c.URIs[0].String())
	case len(c.DNSNames) > 0:
		return fmt.Sprintf("certificate %q", c.DNSNames[0])
	default:
		return fmt.Sprintf("certificate with serial number %x", c.SerialNumber)
	}
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
