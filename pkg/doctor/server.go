package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

// soon is when the end of a receiver's certificate is worth a word.
const soon = 14 * 24 * time.Hour

// trusted describes a certificate that passed.
func (e *examination) trusted(cs tls.ConnectionState) finding {
	leaf := cs.PeerCertificates[0]
	f := good(fmt.Sprintf("It is for %s, issued by %q, valid until %s, and passes this endpoint's trust.", subject(leaf), leaf.Issuer, date(leaf.NotAfter)))
	if left := leaf.NotAfter.Sub(e.options.Now()); left < soon {
		f.said += fmt.Sprintf(" It ends in %s.", days(left))
		f.do = receiver("renew the certificate before it ends; deliveries are held from then on.")
	}
	return f
}

func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); {
	case n >= 2:
		return fmt.Sprintf("%d days", n)
	default:
		return d.Round(time.Minute).String()
	}
}

// untrusted says everything that is wrong with a receiver's certificate. The outcome is that of the first: dates, name,
// chain, keys. answered is what the receiver's clock says, zero when nobody knows.
func (e *examination) untrusted(chain []*x509.Certificate, failure error, answered time.Time) finding {
	var found []finding
	found = append(found, e.outdated(chain, answered)...)
	found = append(found, e.misnamed(chain[0])...)
	found = append(found, e.unchained(chain)...)
	if pin, ok := errors.AsType[*mtls.PinError](failure); ok {
		found = append(found, bad(ServerCertificateUntrusted, fmt.Sprintf("The certificate is trusted, but none of its keys is pinned; it presented %s.", strings.Join(pin.Presented, ", ")),
			both(here("ask the receiver over another channel whether it changed its keys, and only then add the new pin to tls.trust.pins."), receiver("keep one of the pinned keys in use."))))
	}
	if len(found) == 0 {
		found = append(found, bad(ServerCertificateUntrusted, fmt.Sprintf("The certificate for %s, issued by %q, could not be verified: %v.", subject(chain[0]), chain[0].Issuer, failure),
			receiver("replace the certificate by one that a strict client accepts.")))
	}
	all := found[0]
	for _, f := range found[1:] {
		all.said += " " + f.said
		all.do = both(all.do, f.do)
	}
	return all
}

// outdated looks at the dates of everything that was sent.
func (e *examination) outdated(chain []*x509.Certificate, answered time.Time) (found []finding) {
	now := e.options.Now()
	for i, c := range chain {
		what := "The receiver's certificate for " + subject(c)
		if i > 0 {
			what = fmt.Sprintf("The intermediate certificate %q that the receiver sends", c.Subject)
		}
		var f finding
		switch {
		case now.After(c.NotAfter):
			f = bad(ServerCertificateExpired, fmt.Sprintf("%s has expired: it was valid until %s.", what, date(c.NotAfter)),
				receiver("renew the certificate, and reload the listener: a renewed file that was never loaded looks the same."))
		case now.Before(c.NotBefore):
			f = bad(ServerCertificateExpired, fmt.Sprintf("%s is not yet valid: it begins on %s.", what, date(c.NotBefore)),
				both(receiver("use a certificate that is valid now."), here(fmt.Sprintf("check this machine's clock, which says %s.", date(now)))))
		default:
			continue
		}
		if !answered.IsZero() && !answered.After(c.NotAfter) && !answered.Before(c.NotBefore) {
			f.said += fmt.Sprintf(" By the receiver's clock (%s) it is valid: one of the two clocks is wrong.", date(answered))
			f.do = both(f.do, here("compare this machine's clock with a time server."))
		}
		found = append(found, f)
	}
	return found
}

// misnamed compares the names (RFC 9525).
func (e *examination) misnamed(leaf *x509.Certificate) []finding {
	name := e.target.serverName()
	if leaf.VerifyHostname(name) == nil {
		return nil
	}
	said := fmt.Sprintf("The certificate is not for %q but for %s.", name, list(names(leaf), 8))
	if len(names(leaf)) == 0 {
		said = fmt.Sprintf("The certificate names no host in its subject alternative names; its common name %q does not count (RFC 9525).", leaf.Subject.CommonName)
	}
	advice := "set the endpoint's tls.server_name to a name that the certificate carries, if that really is the receiver."
	if host := e.target.host(); host != name && leaf.VerifyHostname(host) == nil {
		advice = fmt.Sprintf("remove tls.server_name from the endpoint: the certificate carries the URL's host %s.", host)
	}
	return []finding{bad(ServerNameMismatch, said, both(receiver(fmt.Sprintf("use a certificate with the subject alternative name %q.", name)), here(advice)))}
}

// unchained looks for the way from the certificate to a trusted root, whatever the dates and names say.
func (e *examination) unchained(chain []*x509.Certificate) []finding {
	leaf := chain[0]
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	// A moment at which the whole chain is valid, if there is one.
	at := leaf.NotBefore
	for _, c := range chain {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: e.target.Trust.RootCAs(), Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err == nil {
		return nil
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return nil // the dates have been told
		}
		do := receiver("use a certificate with server authentication in its extended key usage, and a chain whose authorities may issue it.")
		if invalid.Reason == x509.IncompatibleUsage {
			return []finding{bad(ServerCertificateUntrusted, "The certificate may not be used by a TLS server: its extended key usage lacks server authentication.", do)}
		}
		return []finding{bad(ServerCertificateUntrusted, fmt.Sprintf("The certificate's chain breaks a rule: %v.", invalid), do)}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		return nil // a rule of another kind, which the handshake's own error tells
	}
	return []finding{e.unknownIssuer(chain)}
}

// unknownIssuer says where the chain breaks off.
func (e *examination) unknownIssuer(chain []*x509.Certificate) finding {
	top := climb(chain)
	self := bytes.Equal(top.RawIssuer, top.RawSubject)
	trusts := "This endpoint trusts " + e.rootNames() + "."
	switch {
	case self && top == chain[0]:
		return bad(ServerCertificateUntrusted, fmt.Sprintf("The certificate for %s is self-signed: nobody vouches for it. %s", subject(top), trusts),
			both(receiver("use a certificate of an authority that the sender trusts."), here("or, if the receiver confirms its fingerprint over another channel, add this very certificate to the endpoint's tls.trust.roots.")))
	case self:
		return bad(ServerCertificateUntrusted, fmt.Sprintf("The certificate comes from the unknown authority %q, whose root the receiver sends along. %s", top.Subject, trusts),
			both(here(fmt.Sprintf("if %q is the receiver's authority, get its root over another channel and add it to the endpoint's tls.trust.roots.", top.Subject)), receiver("or use a certificate of an authority that the sender trusts.")))
	case e.sameName(top):
		return bad(ServerCertificateUntrusted, fmt.Sprintf("The certificate says that %q issued it. A root of that name is trusted, but its key did not sign this certificate: the authority has changed its key, or somebody uses its name.", top.Issuer),
			both(here("get the authority's present root and add it to the endpoint's tls.trust.roots."), receiver("check which authority issued the certificate that the listener serves.")))
	}
	said := fmt.Sprintf("The chain breaks off: the issuer %q of the certificate for %s is neither sent by the receiver (it sends %s) nor trusted here. %s",
		top.Issuer, subject(top), count(len(chain)), trusts)
	install := fmt.Sprintf("send the missing intermediate certificate %q after its own (in nginx: append it to ssl_certificate; others call it the full chain).", top.Issuer)
	if len(top.IssuingCertificateURL) > 0 {
		said += fmt.Sprintf(" This is a missing intermediate: the certificate says where it can be had (authority information access): %s.", list(top.IssuingCertificateURL, 2))
		return bad(ServerCertificateUntrusted, said, receiver(install))
	}
	said += " This is a missing intermediate, or an unknown root."
	return bad(ServerCertificateUntrusted, said, both(receiver(install), here(fmt.Sprintf("or, if %q is a root of the receiver's own, add it to the endpoint's tls.trust.roots.", top.Issuer))))
}

func count(n int) string {
	if n == 1 {
		return "only its own certificate"
	}
	return fmt.Sprintf("%d certificates", n)
}

// climb follows the issuers as far as the receiver has sent them.
func climb(chain []*x509.Certificate) *x509.Certificate {
	top := chain[0]
	for range chain {
		if bytes.Equal(top.RawIssuer, top.RawSubject) {
			return top
		}
		var issuer *x509.Certificate
		for _, c := range chain[1:] {
			if c != top && bytes.Equal(c.RawSubject, top.RawIssuer) && top.CheckSignatureFrom(c) == nil {
				issuer = c
				break
			}
		}
		if issuer == nil {
			return top
		}
		top = issuer
	}
	return top
}

func (e *examination) rootNames() string {
	if e.target.Roots == nil {
		return "the authorities of this machine's operating system"
	}
	var all []string
	for _, root := range e.target.Roots {
		all = append(all, fmt.Sprintf("%q", root.Subject))
	}
	return list(all, 6)
}

func (e *examination) sameName(top *x509.Certificate) bool {
	for _, root := range e.target.Roots {
		if bytes.Equal(root.RawSubject, top.RawIssuer) {
			return true
		}
	}
	return false
}

// lookFor finds terms under which a chain can be looked at: its own certificates as roots, one of its own names, a
// moment at which it is valid. Nil when there are none.
func (e *examination) lookFor(chain []*x509.Certificate) *look {
	if len(chain) == 0 {
		return nil
	}
	leaf := chain[0]
	l := &look{chain: chain, name: e.target.serverName(), now: e.options.Now()}
	if l.now.After(leaf.NotAfter) || l.now.Before(leaf.NotBefore) {
		l.now = leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	}
	if leaf.VerifyHostname(l.name) == nil {
		return l
	}
	for _, name := range names(leaf) {
		name = strings.Replace(name, "*.", "any.", 1)
		if leaf.VerifyHostname(name) == nil {
			l.name = name
			return l
		}
	}
	return nil
}

// lookAt shakes hands once more with a receiver that is not trusted, to see what it asks for and what stands in the
// path. It shows no certificate, and asks for nothing but "/".
func (e *examination) lookAt(ctx context.Context, chain []*x509.Certificate) (p *probe, answered time.Time) {
	l := e.lookFor(chain)
	if l == nil {
		return nil, time.Time{}
	}
	p = e.try(ctx, terms{look: l, path: "/", host: e.target.hostHeader(), protocol: "http/1.1"})
	if len(p.state.PeerCertificates) == 0 || !p.state.PeerCertificates[0].Equal(chain[0]) {
		return nil, time.Time{} // another name leads to another site
	}
	answered, _ = p.answer.date()
	return p, answered
}

// lookedAt tells whether an untrusted receiver asks for certificates.
func lookedAt(p *probe) finding {
	if !p.requested {
		return good("In a second look, in which nothing of ours was shown, it did not ask for a client certificate.")
	}
	return good("In a second look, in which nothing of ours was shown, it asked for a client certificate" + acceptable(p.cas) + ".")
}

// revocation tells what is known of a withdrawal; it has been asked about before the first request.
func (e *examination) revocation(bare *probe) bool {
	refused, ok := errors.AsType[*mtls.RevocationError](bare.err)
	if !ok {
		if found := bare.finding.String(); found != "" {
			e.report.add(StepRevocation, good(fmt.Sprintf("Asked whether an issuer has withdrawn the certificate: %s.", found)))
		}
		return true
	}
	e.report.add(StepRevocation, revoked(refused))
	return false
}

func revoked(refused *mtls.RevocationError) finding {
	switch refused.Finding.Status {
	case mtls.Revoked:
		return bad(ServerCertificateRevoked, fmt.Sprintf("An issuer has withdrawn the receiver's certificate: %s.", refused.Finding.Detail),
			both(receiver("get a new certificate, and a new key if the old one may be known to others."), here("leave the check on: ask the receiver why it was withdrawn.")))
	case mtls.StapleMissing:
		return bad(ServerCertificateUntrusted, fmt.Sprintf("The receiver's certificate demands a stapled OCSP response, and there was none that counts: %s.", refused.Finding.Detail),
			receiver("switch OCSP stapling on and see that its answers are fresh, or use a certificate without must-staple (RFC 7633)."))
	case mtls.RevocationUnchecked, mtls.RevocationGood, mtls.RevocationUnknown:
	}
	return bad(ServerCertificateUntrusted, fmt.Sprintf("Nobody could tell whether the receiver's certificate was withdrawn, and this endpoint demands to know (tls.trust.revocation: %s): %s.", refused.Policy, refused.Finding.Detail),
		both(receiver("staple an OCSP response, or use an issuer whose revocation list can be fetched from outside."), here("see whether the list can be fetched from here, or set tls.trust.revocation to soft.")))
}
