package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// tls judges how far the first connection, the one without a certificate, came, and who answered. It tells whether the
// receiver is trusted.
func (e *examination) tls(ctx context.Context, bare *probe) bool {
	chain, failure := bare.untrusted()
	switch {
	case failure != nil:
		found, answered := e.lookAt(ctx, chain)
		if found != nil {
			e.report.add(StepTLS, agreed(found.state))
		}
		e.report.add(StepServerCertificate, e.untrusted(chain, failure, answered))
		if found != nil {
			e.seen = append(e.seen, found)
			e.report.add(StepCertificateRequest, lookedAt(found))
			e.clock()
		}
		e.path(bare, found)
		return false
	case len(bare.state.PeerCertificates) == 0:
		e.report.add(StepTLS, e.notAgreed(ctx, bare))
		return false
	}
	e.report.add(StepTLS, agreed(bare.state))
	e.report.add(StepServerCertificate, e.trusted(bare.state))
	return true
}

func agreed(cs tls.ConnectionState) finding {
	return good(fmt.Sprintf("%s with %s.", tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite)))
}

// notAgreed judges a handshake that ended before any certificate could be looked at.
func (e *examination) notAgreed(ctx context.Context, p *probe) finding {
	at := e.address
	if _, ok := errors.AsType[tls.RecordHeaderError](p.err); ok {
		return notTLS(at, p.banner)
	}
	alert := remoteAlert(p.err)
	switch {
	case p.stage == atConnect:
		return unreachable(at, e.options.Timeout, p.err)
	case isTimeout(p.err) && len(p.banner) > 0 && !isRecord(p.banner[0]):
		return notTLS(at, p.banner)
	case isTimeout(p.err):
		return bad(TimedOut, fmt.Sprintf("%s took the TCP connection but did not answer the TLS handshake within %s.", at, e.options.Timeout),
			both(receiver("an overloaded listener, a proxy that waits for another protocol, or one that has no backend looks like this; check them."),
				here("check that the port in the URL is that of the TLS listener.")))
	case isVersion(p.err, alert):
		return e.otherVersion(ctx, alert)
	case alert == "handshake failure", alert == "insufficient security level", strings.Contains(text(p.err), "unconfigured cipher suite"):
		return e.otherCipher(ctx, alert)
	case alert == "unrecognized name":
		return bad(HandshakeFailed, fmt.Sprintf("%s ended the handshake with the TLS alert %q: %s. TLS asked for %q.", at, alert, words(otherAlerts, alert), e.target.serverName()),
			both(receiver(fmt.Sprintf("serve a site with the name %q.", e.target.serverName())), here(e.checkName())))
	case alert != "":
		return bad(HandshakeFailed, fmt.Sprintf("%s ended the handshake with the TLS alert %q: %s.", at, alert, words(otherAlerts, alert)),
			receiver("its TLS log says why it ended the handshake."))
	case isCut(p.err):
		return bad(HandshakeFailed, fmt.Sprintf("%s %s in the middle of the TLS handshake, before it showed a certificate.", at, cutWord(p.err)),
			both(receiver(fmt.Sprintf("check that it serves the name %q, and that no firewall or proxy ends the connection; its TLS log says why.", e.target.serverName())), here(e.checkName())))
	}
	return bad(HandshakeFailed, fmt.Sprintf("TLS with %s could not be agreed: %v.", at, p.err), receiver("check its TLS configuration; this message comes from our side of the handshake."))
}

func (e *examination) checkName() string {
	if e.target.serverName() != e.target.host() {
		return "check tls.server_name of the endpoint: it differs from the URL's host " + e.target.host() + "."
	}
	return "check the host in the URL."
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func isVersion(err error, alert string) bool {
	return alert == "protocol version not supported" || strings.Contains(text(err), "unsupported protocol version")
}

// isRecord tells whether a byte begins a TLS record: an alert or a handshake message (RFC 8446 section 5.1).
func isRecord(b byte) bool { return b == 0x15 || b == 0x16 }

// notTLS names what answered instead.
func notTLS(at string, banner []byte) finding {
	first, _, _ := bytes.Cut(banner, []byte("\n"))
	shown := strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '.'
		}
		return r
	}, strings.TrimSpace(string(first))), ".")
	what := "something that is not TLS"
	do := both(here("check the port in the URL."), receiver("serve TLS on this port; deliveries never go over plain connections."))
	switch {
	case bytes.HasPrefix(banner, []byte("HTTP/")):
		what = "plain HTTP"
		do = both(receiver("turn TLS on for this port (in nginx: listen … ssl), or give the port of the TLS listener."), here("check the port in the URL; deliveries never go over plain HTTP."))
	case bytes.HasPrefix(banner, []byte("SSH-")):
		what = "an SSH server"
		do = here("check the port in the URL: SSH listens there.")
	case bytes.HasPrefix(banner, []byte("220")):
		what = "a mail or FTP server"
		do = here("check the port in the URL.")
	}
	said := fmt.Sprintf("%s does not speak TLS; it answered like %s", at, what)
	if shown != "" {
		said += fmt.Sprintf(" (%q)", shown)
	}
	return bad(HandshakeFailed, said+".", do)
}

// otherVersion finds out what the receiver speaks instead.
func (e *examination) otherVersion(ctx context.Context, alert string) finding {
	least := tls.VersionName(e.target.minVersion())
	said := fmt.Sprintf("%s speaks no version of TLS that this endpoint accepts (%s or newer)", e.address, least)
	if alert != "" {
		said += fmt.Sprintf("; it said so with the TLS alert %q", alert)
	}
	do := receiver(fmt.Sprintf("turn on %s; its TLS library may need an update.", least))
	if state, ok := e.offers(ctx); ok {
		said += ". The newest that it agreed to in a second look is " + tls.VersionName(state.Version)
		if state.Version == tls.VersionTLS12 {
			do = both(do, here("or accept TLS 1.2 for this endpoint: remove its tls.min_version."))
		}
	}
	return bad(HandshakeFailed, said+".", do)
}

// otherCipher finds out which cipher the receiver would take.
func (e *examination) otherCipher(ctx context.Context, alert string) finding {
	said := e.address + " and deliveries have no cipher, curve or signature algorithm in common"
	if alert != "" {
		said = fmt.Sprintf("%s ended the handshake with the TLS alert %q: %s", e.address, alert, words(otherAlerts, alert))
	}
	if state, ok := e.offers(ctx); ok {
		said += fmt.Sprintf(". In a second look it agreed to %s with %s, which deliveries do not use because it is weak or outdated", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	} else if alert == "handshake failure" {
		said += "; a listener that demands a certificate before it asks for one, or that has none for this name, can look the same"
	}
	return bad(HandshakeFailed, said+".", receiver("allow modern ciphers: any of TLS 1.3, or ECDHE with AES-GCM or ChaCha20-Poly1305 on TLS 1.2."))
}

// offers shakes hands with every version and cipher that this program knows. Nothing is sent on that connection.
func (e *examination) offers(ctx context.Context) (tls.ConnectionState, bool) {
	t := terms{old: true, protocol: "http/1.1"}
	p := e.try(ctx, t)
	if chain, failure := p.untrusted(); failure != nil {
		if t.look = e.lookFor(chain); t.look == nil {
			return tls.ConnectionState{}, false
		}
		p = e.try(ctx, t)
	}
	return p.state, p.state.Version != 0
}
