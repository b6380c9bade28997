package mtls

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// withdrawal is one entry of a CRL, or what an OCSP response says of one.
type withdrawal struct {
	at     int64 // seconds since 1970
	reason int   // CRLReason (RFC 5280 section 5.3.1)
}

const certificateHold = 6

// reasons are the names of CRLReason.
var reasons = [...]string{
	0: "no reason given", 1: "its key was compromised", 2: "the key of its CA was compromised", 3: "its holder changed affiliation",
	4: "it was superseded", 5: "it is no longer in use", certificateHold: "it is on hold", 8: "it is taken off a list",
	9: "a privilege was withdrawn", 10: "the key of its attribute authority was compromised",
}

// final reports whether no later answer can take it back, so that an old one is as good as a fresh one.
func (w withdrawal) final() bool { return w.reason != certificateHold }

// String says since when and why.
func (w withdrawal) String() string {
	reason := fmt.Sprintf("reason %d", w.reason)
	if w.reason >= 0 && w.reason < len(reasons) && reasons[w.reason] != "" {
		reason = reasons[w.reason]
	}
	return "since " + time.Unix(w.at, 0).UTC().Format(time.RFC3339) + ", " + reason
}

// crl is what is kept of a revocation list whose signature is right. It is read-only.
type crl struct {
	thisUpdate, nextUpdate time.Time
	scope                  coverage
	withdrawn              map[string]withdrawal // by the bytes of the serial number
	size                   int                   // bytes, as it came
}

// coverage is which certificates of its issuer a list speaks of (issuing distribution point, RFC 5280 section 5.2.5).
type coverage struct {
	limited   bool     // to the distribution points of these names
	names     []string // URIs
	usersOnly bool
	casOnly   bool
}

const (
	reasonCode   = "2.5.29.21"
	deltaCRL     = "2.5.29.27"
	issuingPoint = "2.5.29.28"
)

// parseCRL reads a list (RFC 5280 section 5) that must be the issuer's own and speak for itself. The error begins with
// a verb.
func parseCRL(raw []byte, issuer *x509.Certificate) (*crl, error) {
	list, err := x509.ParseRevocationList(raw)
	if err != nil {
		return nil, fmt.Errorf("is not a readable CRL: %s", strings.TrimPrefix(err.Error(), "x509: "))
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		return nil, fmt.Errorf("is a list of %q, not of %q", list.Issuer, issuer.Subject)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("is not signed by %q: %s", issuer.Subject, strings.TrimPrefix(err.Error(), "x509: "))
	}
	out := &crl{
		thisUpdate: list.ThisUpdate, nextUpdate: list.NextUpdate, size: len(raw),
		withdrawn: make(map[string]withdrawal, len(list.RevokedCertificateEntries)),
	}
	if err := out.readExtensions(list); err != nil {
		return nil, err
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, extension := range entry.Extensions {
			if extension.Critical && extension.Id.String() != reasonCode {
				return nil, fmt.Errorf("holds an entry with the critical extension %s, which is not understood", extension.Id)
			}
		}
		out.withdrawn[string(entry.SerialNumber.Bytes())] = withdrawal{at: entry.RevocationTime.Unix(), reason: entry.ReasonCode}
	}
	return out, nil
}

func (l *crl) readExtensions(list *x509.RevocationList) error {
	seen := false
	for _, extension := range list.Extensions {
		var err error
		switch id := extension.Id.String(); {
		case id == deltaCRL:
			return errors.New("is a delta CRL, which says only what has changed")
		case id == issuingPoint && seen:
			return errors.New("limits its scope twice")
		case id == issuingPoint:
			seen = true
			if l.scope, err = parseScope(extension.Value); err != nil {
				return err
			}
		case extension.Critical:
			return fmt.Errorf("has the critical extension %s, which is not understood", id)
		}
	}
	return nil
}

// parseScope reads an issuing distribution point.
func parseScope(value []byte) (coverage, error) {
	var s coverage
	malformed := errors.New("has a scope that cannot be read")
	tag := func(n uint8) der.Tag { return der.Tag(n).ContextSpecific() }
	input, body := cryptobyte.String(value), cryptobyte.String{}
	if !input.ReadASN1(&body, der.SEQUENCE) || !input.Empty() {
		return s, malformed
	}
	var point, names cryptobyte.String
	if !body.ReadOptionalASN1(&point, &s.limited, tag(0).Constructed()) {
		return s, malformed
	}
	if s.limited {
		if !point.ReadASN1(&names, tag(0).Constructed()) {
			return s, errors.New("names its distribution point in a form that is not understood")
		}
		for !names.Empty() {
			var name cryptobyte.String
			var form der.Tag
			if !names.ReadAnyASN1(&name, &form) {
				return s, malformed
			}
			if form == tag(6) { // uniformResourceIdentifier
				s.names = append(s.names, string(name))
			}
		}
	}
	var set [6]bool
	for n := uint8(1); n <= 5; n++ {
		var flag cryptobyte.String
		var present bool
		if !body.ReadOptionalASN1(&flag, &present, tag(n)) {
			return s, malformed
		}
		set[n] = present && (n == 3 || !bytes.Equal(flag, []byte{0}))
	}
	s.usersOnly, s.casOnly = set[1], set[2]
	switch {
	case !body.Empty():
		return s, malformed
	case set[3]:
		return s, errors.New("covers only some of the reasons to revoke")
	case set[4]:
		return s, errors.New("is an indirect CRL, which speaks of other issuers' certificates, too")
	case set[5]:
		return s, errors.New("speaks only of attribute certificates")
	default:
		return s, nil
	}
}

// excludes says why the list does not speak of a certificate; it is empty when it does. It matters because lists come
// over plain http: whoever sits in between could hand over another list of the same issuer.
func (s coverage) excludes(c *x509.Certificate) string {
	named := func(name string) bool { return slices.Contains(c.CRLDistributionPoints, name) }
	switch {
	case s.usersOnly && c.IsCA:
		return "speaks only of certificates that are no CA's"
	case s.casOnly && !c.IsCA:
		return "speaks only of CAs' certificates"
	case s.limited && !slices.ContainsFunc(s.names, named):
		return "is the list of another distribution point"
	default:
		return ""
	}
}

// status looks a certificate of the list's issuer up. A withdrawal that is final counts however old the list is.
func (l *crl) status(c *x509.Certificate, source string) answer {
	if problem := l.scope.excludes(c); problem != "" {
		return unknown("%s %s", quoteURL(source), problem)
	}
	problem := staleness(l.thisUpdate, l.nextUpdate, time.Now())
	if entry, listed := l.withdrawn[string(c.SerialNumber.Bytes())]; listed && (problem == "" || entry.final()) {
		return answer{Revoked, describe(c) + " stands in its issuer's list " + quoteURL(source) + " " + entry.String()}
	}
	if problem != "" {
		return unknown("the list %s %s", quoteURL(source), problem)
	}
	return answer{RevocationGood, "crl"}
}
