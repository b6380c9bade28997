package doctor

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/handfast/handfast/pkg/mtls"
)

// withoutCertificate tells whether the receiver turns away who shows nothing. It must, or its mutual TLS is for show.
func (e *examination) withoutCertificate(bare, current *probe) finding {
	how, refused := e.turnedAway(bare, current)
	if refused {
		return good("Without a certificate the receiver " + how + ", as it must.")
	}
	if bare.stage != done {
		return e.unproven(bare)
	}
	return finding{
		outcome: Delivered, wrong: true,
		said: fmt.Sprintf("The receiver asks for a client certificate but does not demand one: without any it answered HTTP %s. Anybody can send to it.", statusWords(bare.answer.status)),
		do:   receiver("demand the certificate (nginx: ssl_verify_client on, not optional; haproxy: verify required; Go: RequireAndVerifyClientCert; Node: rejectUnauthorized)."),
	}
}

// withStranger tells whether the receiver turns away a certificate that nobody issued.
func (e *examination) withStranger(p, current *probe) finding {
	what := "A throw-away certificate that nobody issued"
	if current != nil {
		what = "A throw-away certificate with the name of the current identity, which nobody issued,"
	}
	how, refused := e.turnedAway(p, current)
	if refused {
		return good(what + " gets nowhere: the receiver " + how + ", as it must.")
	}
	if p.stage != done {
		return e.unproven(p)
	}
	return finding{
		outcome: Delivered, wrong: true,
		said: fmt.Sprintf("The receiver accepts anyone's certificate: %s was answered HTTP %s. Whoever makes a certificate of their own can send to it.", lowerFirst(what), statusWords(p.answer.status)),
		do: receiver("verify the certificate against the sender's authority (nginx: ssl_verify_client on with ssl_client_certificate, not optional_no_ca; Go: RequireAndVerifyClientCert, not RequireAnyClientCert; " +
			"Node: rejectUnauthorized with ca), and compare the exact subject alternative name."),
	}
}

func lowerFirst(s string) string { return "a" + s[1:] }

// turnedAway tells how a connection that deserves no answer was refused. The answer to the current identity tells a
// refusal from what this receiver says to every OPTIONS request.
func (e *examination) turnedAway(p, current *probe) (how string, refused bool) {
	if p.stage == done {
		status := p.answer.status
		switch {
		case p.answer.refusesCertificate():
			return fmt.Sprintf("answers HTTP %s with a page that says so", statusWords(status)), true
		case status == http.StatusForbidden, status == http.StatusUnauthorized, status == http.StatusMisdirectedRequest:
			return "lets the handshake pass and answers HTTP " + statusWords(status), true
		case status == http.StatusBadRequest && current != nil && current.stage == done && current.answer.status != status:
			return fmt.Sprintf("answers HTTP %s, which it does not to the current identity (inferred)", statusWords(status)), true
		}
		return "", false
	}
	alert := remoteAlert(p.err)
	switch {
	case p.stage == atConnect, refusedByUs(p):
		return "", false
	case alert != "":
		return fmt.Sprintf("ends the connection with the TLS alert %q", alert), true
	case isTimeout(p.err):
		return fmt.Sprintf("gives no answer within %s (inferred)", e.options.Timeout), true
	case isCut(p.err):
		return cutWord(p.err) + " (inferred)", true
	}
	return fmt.Sprintf("gives no answer that counts (%v)", p.err), true
}

// refusedByUs tells that the receiver had no say, because we did not accept it.
func refusedByUs(p *probe) bool {
	_, failure := p.untrusted()
	_, withdrawn := errors.AsType[*mtls.RevocationError](p.err)
	return failure != nil || withdrawn
}

// unproven is a connection from which nothing can be concluded about whom the receiver lets in.
func (e *examination) unproven(p *probe) finding {
	f, _ := e.judge(p)
	f.said = "Whether the receiver turns this away could not be seen. " + f.said
	return f
}
