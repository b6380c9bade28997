package doctor

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/handfast/handfast/pkg/mtls"
)

// acceptable is the receiver's list, as the end of a sentence.
func acceptable(cas []string) string {
	if len(cas) == 0 {
		return ", of any authority (it sends no list)"
	}
	return " issued by " + quoted(cas)
}

func quoted(all []string) string {
	shown := make([]string, len(all))
	for i, name := range all {
		shown[i] = fmt.Sprintf("%q", name)
	}
	return list(shown, 8)
}

// certificateRequest tells whether the receiver asks, and for whose certificates.
func (e *examination) certificateRequest(bare, current *probe) finding {
	if !bare.requested {
		said := "The receiver does not ask for a client certificate: it cannot know who is calling"
		if e.target.Mutual == mtls.Requested {
			return good(said + ". This endpoint allows that (tls.mutual: requested), so deliveries rest on their signatures alone.")
		}
		return bad(ClientCertificateNotRequested, said+", and no delivery is sent to it.",
			both(receiver("require client certificates in the handshake, for the whole listener (nginx: ssl_verify_client on; haproxy: verify required; Go: RequireAndVerifyClientCert). Asking later, by renegotiation or for one path only, does not count."),
				here("only if the receiver can never do so, set the endpoint's tls.mutual to requested.")))
	}
	f := good("It asks for a client certificate" + acceptable(bare.cas) + ".")
	if current == nil || current.unlisted == nil {
		return f
	}
	if len(bare.cas) > 0 && !slices.ContainsFunc(e.target.Current.issuers(), func(issuer string) bool { return slices.Contains(bare.cas, issuer) }) {
		f.said += fmt.Sprintf(" The current identity %q is issued by %s, which is not on that list.", e.target.Current.name, quoted(e.target.Current.issuers()))
	} else {
		f.said += fmt.Sprintf(" The current identity does not fit: %v.", current.unlisted)
	}
	if _, refused := e.judge(current); !refused {
		f.said += " It was accepted all the same, so the list is incomplete."
		f.do = receiver("put the issuer on the list: other clients choose their certificate by it.")
		return f
	}
	f.wrong, f.outcome = true, ClientCertificateRefused
	f.do = both(receiver(fmt.Sprintf("add the authority that issued our certificate (%s) to those that it accepts.", quoted(last(e.target.Current.issuers())))),
		here("or use an identity that one of the listed authorities has issued; if the list names an authority further up, add the intermediate certificates to the identity's file."))
	return f
}

// last is the end of a chain's issuers: the one that others trust.
func last(issuers []string) []string {
	return issuers[max(0, len(issuers)-1):]
}

// identities judges ours, on their own and by what the receiver made of them.
func (e *examination) identities(bare, current, next *probe) {
	needed := bare.requested || e.target.Mutual == mtls.Required
	switch {
	case e.target.Current.given():
		e.report.add(StepIdentity, e.fit(e.target.Current))
	case needed:
		e.report.add(StepIdentity, bad(NoIdentity, "No client identity was given, so there is nothing to present to the receiver.",
			here("name the certificate and key that deliveries use: --identity NAME=CERT,KEY.")))
	}
	if current != nil {
		e.report.add(StepWithCurrent, e.presented(current))
	}
	if e.target.Next.given() {
		e.report.add(StepNextIdentity, e.fit(e.target.Next))
	}
	if next != nil {
		f := e.presented(next)
		if f.wrong {
			f.do = both(f.do, here("keep this endpoint on the current identity until the next one is accepted."))
		}
		e.report.add(StepWithNext, f)
	}
}

// fit judges an identity without the receiver.
func (e *examination) fit(i Identity) finding {
	if problems := i.problems(); len(problems) > 0 {
		said := fmt.Sprintf("Client identity %q cannot be used for deliveries: %s.", i.name, strings.Join(problems, "; "))
		if i.pair == nil {
			return bad(NoIdentity, said, here("give a certificate and its own private key, both in PEM."))
		}
		return bad(NoIdentity, said+" It is presented below only to see what the receiver makes of it.",
			here("have a new certificate issued that mends this, for the same name and with client authentication in its extended key usage."))
	}
	f := good(fmt.Sprintf("Client identity %s is fit for use.", i))
	if left := i.leaf().NotAfter.Sub(e.options.Now()); left < soon {
		f.said += fmt.Sprintf(" It ends in %s.", days(left))
		f.do = here("renew it before it ends, and prove the new one with --next.")
	}
	return f
}

// presented tells what the receiver made of one of our identities.
func (e *examination) presented(p *probe) finding {
	if f, refused := e.judge(p); refused {
		return f
	}
	if !p.requested {
		return good(fmt.Sprintf("The receiver answered HTTP %s without having seen the certificate.", statusWords(p.answer.status)))
	}
	f := good(fmt.Sprintf("The receiver accepted %q: after the handshake it answered the OPTIONS request with HTTP %s.", p.presented.name, statusWords(p.answer.status)))
	if p.state.NegotiatedProtocol == "h2" {
		f.said += " It speaks HTTP/2 only, which is fine."
	}
	switch status := p.answer.status; {
	case status >= http.StatusInternalServerError:
		f.said += " TLS is fine; what is behind it is not."
		f.do = receiver("look after the application behind the listener: deliveries would be retried.")
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		f.said += " Deliveries never follow a redirect."
		f.do = here("use the URL that the redirect leads to, if POST requests are redirected as well.")
	case status == http.StatusUnauthorized:
		f.said += " Its application wants credentials of another kind for this request."
	}
	return f
}

// judge tells whether a connection with a certificate ended without an answer that counts, and why.
func (e *examination) judge(p *probe) (f finding, refused bool) {
	who := fmt.Sprintf("%q", p.presented.name)
	if p.stage == done {
		return e.page(p)
	}
	if chain, failure := p.untrusted(); failure != nil {
		f = e.untrusted(chain, failure, p.answer.at)
		f.said = "This connection was answered with another certificate than the first. " + f.said
		return f, true
	}
	if refused, ok := errors.AsType[*mtls.RevocationError](p.err); ok {
		f = revoked(refused)
		f.said = "On this connection the revocation check came out otherwise. " + f.said
		return f, true
	}
	alert := remoteAlert(p.err)
	_, about := certificateAlerts[alert]
	trust := receiver("trust the issuer of our certificate and allow its name; its TLS log says what it dislikes.")
	switch {
	case about && p.requested:
		f = bad(ClientCertificateRefused, fmt.Sprintf("The receiver refused %s with the TLS alert %q: %s.", who, alert, words(certificateAlerts, alert)), trust)
		if strings.Contains(alert, "certificate") && strings.Contains(words(certificateAlerts, alert), "clientAuth") && p.presented.problem == nil {
			f.do = both(trust, here("check that the certificate's intermediates are in its file, in order."))
		}
	case alert != "":
		f = bad(HandshakeFailed, fmt.Sprintf("The receiver ended the connection with the TLS alert %q: %s.", alert, words(otherAlerts, alert)), receiver("its TLS log says why."))
	case strings.Contains(text(p.err), "renegotiation"), strings.Contains(text(p.err), "unexpected message"):
		f = bad(ClientCertificateNotRequested, "The receiver wanted to renegotiate after the handshake, to ask for a certificate then; TLS 1.3 has no such thing and deliveries do not take part.",
			receiver("ask for the client certificate in the handshake, for the whole listener."))
	case isTimeout(p.err):
		f = bad(TimedOut, fmt.Sprintf("The receiver shook hands but did not answer the OPTIONS request within %s.", e.options.Timeout), receiver("look for an application that hangs, or a proxy without a backend."))
		if p.requested {
			f.said += " It raised no objection to the certificate."
		}
		if p.stage == atHandshake {
			f.said = fmt.Sprintf("The receiver did not finish this handshake within %s.", e.options.Timeout)
		}
	case p.stage == atConnect:
		f = unreachable(e.address, e.options.Timeout, p.err)
	case isCut(p.err) && p.requested:
		f = bad(ClientCertificateRefused, fmt.Sprintf("The receiver %s right after it had seen %s, without a word. Most listeners do this to a certificate that they do not accept (inferred; Node, Java and haproxy are known for it).", cutWord(p.err), who), trust)
	case isCut(p.err):
		f = bad(ConnectionLost, fmt.Sprintf("The receiver %s before it answered.", cutWord(p.err)), receiver("look for an application, or a proxy, that ends the connection."))
	case p.stage == atHandshake:
		f = bad(HandshakeFailed, fmt.Sprintf("The handshake with %s could not be finished: %v.", who, p.err), receiver("check its TLS configuration."))
	default:
		f = bad(ConnectionLost, fmt.Sprintf("What the receiver answered is not HTTP: %v.", p.err), both(receiver("serve HTTP on this port."), here("check the port in the URL.")))
	}
	return f, true
}

// page recognises answers that in truth refuse the certificate.
func (e *examination) page(p *probe) (f finding, refused bool) {
	who, status := fmt.Sprintf("%q", p.presented.name), statusWords(p.answer.status)
	switch {
	case p.answer.status == http.StatusMisdirectedRequest:
		f = bad(ClientCertificateRefused, fmt.Sprintf("The receiver answered HTTP %s: it does not serve host %q on a connection that was opened for %q.", status, e.target.hostHeader(), e.target.serverName()),
			both(receiver("serve this host under the same TLS rules as its certificate's name (Caddy: strict_sni_host)."), here(e.checkName())))
	case p.answer.refusesCertificate():
		f = bad(ClientCertificateRefused, fmt.Sprintf("The receiver let the handshake pass and then refused %s with HTTP %s and a page that says so, as nginx does.", who, status),
			receiver("trust the issuer of our certificate (nginx: ssl_client_certificate, and ssl_verify_depth for intermediates); its error log names the reason."))
	case p.answer.status == http.StatusForbidden && p.requested:
		f = bad(ClientCertificateRefused, fmt.Sprintf("The receiver let the handshake pass and then answered HTTP %s: it does not let %s in by its name, or it forbids the OPTIONS request (inferred).", status, who),
			both(receiver(fmt.Sprintf("allow the name of our certificate, exactly: %s.", e.nameOf(p.presented))), here("check that this is the identity that the receiver was told of.")))
	default:
		return finding{}, false
	}
	return f, true
}

func (e *examination) nameOf(i Identity) string {
	if leaf := i.leaf(); leaf != nil {
		return subject(leaf)
	}
	return i.name
}

// refusesCertificate recognises nginx's pages and statuses.
func (a answer) refusesCertificate() bool {
	return a.status != http.StatusMisdirectedRequest && mtls.RefusedByPage(mtls.Target{}, &mtls.Response{Status: a.status, Header: a.header, Body: a.body}) != nil
}
