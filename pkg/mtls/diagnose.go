package mtls

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// dialFailure judges what happened before the first byte of TLS.
func dialFailure(t Target, err error) *Failure {
	f := &Failure{Basis: Inferred, cause: err}
	var dns *net.DNSError
	var forbidden *AddressForbiddenError
	switch {
	case errors.As(err, &forbidden):
		f.Kind, f.Basis = AddressForbidden, Ours
		f.Detail = fmt.Sprintf("%s leads to %s, where no delivery may go: %s", t.Authority, forbidden.Addr, forbidden.Reason)
		f.Advice = "If this receiver is meant to be inside your network, the operator allows its range in the dispatcher's address policy"
	case errors.As(err, &dns):
		f.Kind = NameNotResolved
		f.Detail = fmt.Sprintf("the name of %s could not be resolved: %s", t.Authority, dnsReason(dns))
		f.Advice = "Check the host in the endpoint's url, and the DNS that the dispatcher uses"
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		f.Kind = TimedOut
		f.Detail = fmt.Sprintf("no TCP connection to %s within the time allowed", t.Authority)
		f.Advice = "A firewall that drops packets, or a host that is down, looks like this"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		f.Kind = ConnectionRefused
		f.Detail = t.Authority + " refused the TCP connection or there is no route to it"
		f.Advice = "Check that the receiver is running and listens on that port"
	default:
		f.Kind = ConnectionLost
		f.Detail = fmt.Sprintf("no TCP connection to %s: %v", t.Authority, err)
	}
	return f
}

func dnsReason(err *net.DNSError) string {
	switch {
	case err.IsNotFound:
		return "no such host"
	case err.IsTimeout:
		return "the name server did not answer"
	default:
		return err.Err
	}
}

// handshakeFailure judges an error of the TLS handshake itself: everything on TLS 1.2, our own checks on both.
func handshakeFailure(t Target, p *Proof, err error) *Failure {
	var verification *tls.CertificateVerificationError
	if errors.As(err, &verification) && p.Server == nil {
		p.Server = newParty(verification.UnverifiedCertificates)
	}
	if f := trustFailure(t, p, err); f != nil {
		return f
	}
	if alert := remoteAlert(err); alert != "" {
		return alertFailure(t, p, alert, err)
	}
	f := &Failure{Kind: HandshakeFailed, Basis: Inferred, Proof: p, cause: err}
	var notTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &notTLS):
		f.Detail = t.Authority + " does not speak TLS on this port"
		f.Advice = "Check the port in the endpoint's url; plain HTTP is never used"
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		f.Kind = TimedOut
		f.Detail = t.Authority + " accepted the connection but did not finish the TLS handshake in time"
		f.Advice = "An overloaded receiver, or a proxy that waits for something else, looks like this"
	case isCut(err) && p.Requested:
		return cutFailure(t, p, err)
	case isCut(err):
		f.Detail = t.Authority + " closed the connection in the middle of the TLS handshake"
		f.Advice = "The receiver's TLS log says why; a name (SNI) that it does not serve is a common cause"
	default:
		f.Basis = Ours
		f.Detail = fmt.Sprintf("TLS with %s could not be agreed: %v", t.Authority, err)
		if strings.Contains(err.Error(), "unsupported protocol version") { // crypto/tls has no value for it
			f.Advice = versionAdvice(t)
		}
	}
	return f
}

func versionAdvice(t Target) string {
	if t.MinVersion == TLS12 {
		return "The receiver offers neither TLS 1.2 nor 1.3; it must be updated"
	}
	return "The receiver does not offer TLS 1.3, which the endpoint demands; it must be updated, or the endpoint's tls.min_version set to \"1.2\""
}

// trustFailure judges what our own verification of the receiver found; nil when err is something else.
func trustFailure(t Target, p *Proof, err error) *Failure {
	f := &Failure{Basis: Ours, Proof: p, cause: err}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var pin *PinError
	if revocation, ok := errors.AsType[*RevocationError](err); ok {
		return revocationFailure(t, f, revocation)
	}
	switch {
	case errors.As(err, &pin):
		f.Kind = ServerCertificateUntrusted
		f.Detail = fmt.Sprintf("no certificate of %s has a pinned key: %v", t.Authority, pin)
		f.Advice = "If the receiver changed its key on purpose, add the new pin to the endpoint's tls.trust.pins; otherwise find out who answered"
	case errors.As(err, &name):
		f.Kind = ServerNameMismatch
		f.Detail = fmt.Sprintf("the certificate of %s is not for %q but for %s", t.Authority, t.ServerName, certificateNames(name.Certificate))
		f.Advice = "The receiver needs a certificate with that subject alternative name, or the endpoint another tls.server_name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Kind = ServerCertificateExpired
		f.Detail = fmt.Sprintf("the certificate of %s (or of its issuer) is outside its validity: %s", t.Authority, validity(invalid.Cert))
		f.Advice = "The receiver renews its certificate; if the dates look right, check this machine's clock"
	case errors.As(err, &unknown):
		f.Kind = ServerCertificateUntrusted
		f.Detail = fmt.Sprintf("nobody whom this endpoint trusts has issued the certificate of %s (%s)", t.Authority, p.Server.issuer())
		f.Advice = "Add the issuer's root to the endpoint's tls.trust.roots, or let the receiver send its intermediate certificates"
	case errors.As(err, &invalid):
		f.Kind = ServerCertificateUntrusted
		f.Detail = fmt.Sprintf("the certificate of %s is not valid for a TLS server: %v", t.Authority, invalid)
		f.Advice = "The receiver needs a certificate with server authentication in its extended key usage and a valid chain"
	default:
		var verification *tls.CertificateVerificationError
		if !errors.As(err, &verification) {
			return nil
		}
		f.Kind = ServerCertificateUntrusted
		f.Detail = fmt.Sprintf("the certificate of %s could not be verified: %v", t.Authority, verification.Err)
		f.Advice = "Check the endpoint's tls.trust.roots against the receiver's chain"
	}
	return f
}

func (p *Party) issuer() string {
	if p == nil {
		return "it sent none"
	}
	return fmt.Sprintf("subject %q, issuer %q", p.Subject, p.Issuer)
}

func certificateNames(c *x509.Certificate) string {
	names := subjectNames(c)
	if len(names) == 0 {
		return "no name at all (a common name does not count, RFC 9525)"
	}
	if len(names) > 8 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:8], ", "), len(names)-8)
	}
	return strings.Join(names, ", ")
}

func validity(c *x509.Certificate) string {
	if c == nil {
		return "dates unknown"
	}
	return fmt.Sprintf("%q is valid from %s to %s", c.Subject, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
}

// remoteAlert is the text of a TLS alert from the receiver, or "". The alert type inside is unexported and matches no
// exported one, so the text is all there is (measured on Go 1.26).
func remoteAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && op.Err != nil {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

// certificateAlerts are the alerts that judge a certificate (RFC 8446 section 6.2). "handshake failure" is what TLS 1.2
// listeners say to a missing certificate, and counts only after they asked for one.
var certificateAlerts = map[string]string{
	"bad certificate":                 "it calls our certificate bad (often a missing clientAuth extended key usage)",
	"unsupported certificate":         "it does not support our certificate's type or key usage",
	"revoked certificate":             "it holds our certificate for revoked",
	"expired certificate":             "it holds our certificate for expired",
	"unknown certificate":             "it could not accept our certificate for a reason that it does not name",
	"unknown certificate authority":   "it does not know the authority that issued our certificate",
	"access denied":                   "our certificate is valid but is not allowed in",
	"certificate required":            "it requires a certificate and did not take ours",
	"bad certificate status response": "it was not satisfied with the status of our certificate",
	"handshake failure":               "it gave up the handshake after asking for our certificate",
	"error decrypting message":        "it could not verify the signature of our certificate's key",
}

func alertFailure(t Target, p *Proof, alert string, err error) *Failure {
	if words, about := certificateAlerts[alert]; about && p.Requested {
		return &Failure{
			Kind: ClientCertificateRefused, Basis: Said, Proof: p, cause: err,
			Detail: fmt.Sprintf("%s refused our certificate %s with the TLS alert %q: %s%s", t.Authority, p.Client.identity(), alert, words, unlisted(p)),
			Advice: "The receiver's operator must trust our certificate's issuer and allow this name; nothing is dropped meanwhile",
		}
	}
	f := &Failure{Kind: HandshakeFailed, Basis: Said, Proof: p, cause: err}
	f.Detail = fmt.Sprintf("%s ended TLS with the alert %q", t.Authority, alert)
	switch alert {
	case "protocol version not supported":
		f.Advice = versionAdvice(t)
	case "unrecognized name":
		f.Advice = "The receiver serves no site with this name; check url and tls.server_name"
	case "handshake failure":
		f.Advice = "No common cipher, or a certificate was needed earlier than it was asked for; the receiver's TLS log says which"
	default:
		f.Advice = "The receiver's TLS log says why"
	}
	return f
}

// cutFailure is the refusal that is not told: many listeners just close (Node, Java, haproxy on TLS 1.3).
func cutFailure(t Target, p *Proof, err error) *Failure {
	return &Failure{
		Kind: ClientCertificateRefused, Basis: Inferred, Proof: p, cause: err,
		Detail: fmt.Sprintf("%s cut the connection right after it had seen our certificate %s, before any answer%s", t.Authority, p.Client.identity(), unlisted(p)),
		Advice: "Most listeners do this when they do not accept the certificate: the receiver's operator must trust its issuer and allow this name; its TLS log says more",
	}
}

func notRequestedFailure(t Target, p *Proof) *Failure {
	return &Failure{
		Kind: ClientCertificateNotRequested, Basis: Ours, Proof: p,
		Detail: t.Authority + " did not ask for our certificate, so nothing was sent: it cannot know who is calling",
		Advice: "The receiver must require client certificates for the whole listener (not only after the request, by renegotiation); " +
			"only if it can never do so, set the endpoint's tls.mutual to requested",
	}
}

func (p *Party) identity() string {
	if p == nil {
		return "(none was presented)"
	}
	return fmt.Sprintf("%q issued by %q", p.Name(), p.Issuer)
}

func unlisted(p *Proof) string {
	if p.Unlisted == "" {
		return ""
	}
	return " (" + p.Unlisted + ")"
}

// RefusedByPage recognises an HTTP answer that in truth refuses our certificate: nginx completes the handshake and
// answers 400 with a page, or its own 495 and 496; 421 is what several servers say when the certificate does not fit.
// It returns nil for any other answer.
func RefusedByPage(t Target, r *Response) *Failure {
	f := &Failure{Kind: ClientCertificateRefused, Basis: Said, Proof: r.Proof, Handshake: r.Handshake, Reused: r.Reused, BodySent: r.BodySent, Status: r.Status}
	switch {
	case r.Status == http.StatusBadRequest && mentionsCertificate(r.Body):
		f.Detail = fmt.Sprintf("%s answered HTTP 400 with a page that says that our certificate %s was missing or not accepted", t.Authority, r.Proof.identity())
	case r.Status == 495 || r.Status == 496:
		f.Detail = fmt.Sprintf("%s answered HTTP %d, nginx's status for a client certificate that is missing or not accepted", t.Authority, r.Status)
	case r.Status == http.StatusMisdirectedRequest:
		f.Basis = Inferred
		f.Detail = fmt.Sprintf("%s answered HTTP 421: this connection, with its name %q and our certificate %s, is not right for this request", t.Authority, t.ServerName, r.Proof.identity())
	default:
		return nil
	}
	f.Advice = "The receiver's operator must trust our certificate's issuer (in nginx: ssl_client_certificate), have the name in our certificate on its list of allowed names (in a receiver made with pkg/receiver the usual cause), and serve the name that we ask for; nothing is dropped meanwhile"
	return f
}

func (p *Proof) identity() string {
	if p == nil {
		return "(none was presented)"
	}
	return p.Client.identity()
}

func mentionsCertificate(page []byte) bool {
	page = bytes.ToLower(page)
	return bytes.Contains(page, []byte("no required ssl certificate was sent")) ||
		bytes.Contains(page, []byte("the ssl certificate error"))
}

// isCut reports an end of the connection that carries no word.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNABORTED)
}
