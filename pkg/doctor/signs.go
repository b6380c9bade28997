package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// host compares what TLS asks for with what HTTP asks for, when they differ.
func (e *examination) host(ctx context.Context, bare, current *probe) {
	name, host := e.target.serverName(), e.target.host()
	probe := bare
	if current != nil {
		probe = current
	}
	misdirected := probe.stage == done && probe.answer.status == http.StatusMisdirectedRequest
	if name == host && !misdirected {
		return
	}
	said := fmt.Sprintf("TLS asks for %q (SNI), HTTP for %q (Host).", name, e.target.hostHeader())
	if !misdirected {
		if name != host {
			e.report.add(StepHost, good(said+" The receiver serves this pair."))
		}
		return
	}
	said += " The receiver answered HTTP 421 to this pair."
	do := both(receiver(fmt.Sprintf("serve the host %q under the same TLS rules as %q.", host, name)), here(e.checkName()))
	if name != host {
		t := e.terms(probe.presented)
		if t.host = name; e.target.URL.Port() != "" {
			t.host = net.JoinHostPort(name, e.target.port())
		}
		if again := e.try(ctx, t); again.stage == done && again.answer.status != http.StatusMisdirectedRequest {
			said += fmt.Sprintf(" Asked for %q by both, it answered HTTP %s: the two names are the reason.", name, statusWords(again.answer.status))
			do = both(here(fmt.Sprintf("use %q in the URL, or remove tls.server_name from the endpoint.", name)), receiver(fmt.Sprintf("or serve the host %q under the same TLS rules.", host)))
		}
	}
	e.report.add(StepHost, bad(ClientCertificateRefused, said, do))
}

const (
	// tolerance is how far from their own clock receivers commonly accept the timestamp of a signature (Standard
	// Webhooks 1.0.0: five minutes).
	tolerance = 5 * time.Minute
	// drift is worth a word.
	drift = 30 * time.Second
)

// date is the receiver's clock, to the second.
func (a answer) date() (time.Time, bool) {
	if a.header == nil {
		return time.Time{}, false
	}
	at, err := http.ParseTime(a.header.Get("Date"))
	return at, err == nil
}

// clock compares the two clocks by the first answer that has a date.
func (e *examination) clock() {
	for _, p := range e.seen {
		theirs, ok := p.answer.date()
		if !ok {
			continue
		}
		ours := p.answer.at
		skew := theirs.Sub(ours)
		direction := "ahead of"
		if skew < 0 {
			direction = "behind"
		}
		said := fmt.Sprintf("The receiver's clock (%s UTC) is %s %s ours (%s).", theirs.UTC().Format(time.DateTime), skew.Abs().Round(time.Second), direction, ours.UTC().Format(time.DateTime))
		switch {
		case skew.Abs() > tolerance:
			e.report.add(StepClock, bad(Rejected, said+fmt.Sprintf(" Signatures carry a timestamp, which receivers accept within %s, so they will not verify (inferred). Certificates are judged by the same clocks.", tolerance),
				both(receiver("set the clock by a time server (NTP)."), here("check this machine's clock, too."))))
		case skew.Abs() > drift:
			f := good(said + " That is within what signatures allow.")
			f.do = receiver("set the clock by a time server (NTP) before it drifts further.")
			e.report.add(StepClock, f)
		default:
			e.report.add(StepClock, good("The clocks agree."))
		}
		return
	}
}

// path looks for signs of a proxy that ends TLS and speaks to the receiver, or to us, in another's name. They are signs
// only, so they count when something else is wrong as well. found is the second look at an untrusted receiver.
func (e *examination) path(bare, found *probe) {
	var signs []string
	for _, p := range e.seen {
		for _, sign := range proxySigns(p.answer.header) {
			if !slices.Contains(signs, sign) {
				signs = append(signs, sign)
			}
		}
	}
	differ := e.differ()
	chain, _ := bare.untrusted()
	if found == nil && len(chain) == 0 {
		chain = bare.state.PeerCertificates
	}
	if len(chain) > 0 {
		if product := interceptor(chain[len(chain)-1].Issuer.String() + " " + chain[0].Issuer.String()); product != "" {
			signs = append(signs, "the issuer's name is that of a product that inspects TLS: "+product)
		}
	}
	open := len(bare.state.PeerCertificates) > 0 && !bare.requested
	switch {
	case differ != "":
		f := finding{outcome: Delivered, said: "Suspicion (inferred): " + differ + " Several machines that were set up differently, or a proxy that answers for the receiver, look like this.", do: receiver("check that every machine behind this address has the same certificate and the same rules.")}
		f.wrong = e.report.failed()
		e.report.add(StepPath, f)
	case len(signs) > 0 && len(bare.state.PeerCertificates) == 0:
		f := bad(Delivered, fmt.Sprintf("Suspicion (inferred): a proxy in the path ends TLS and shows a certificate of its own, which this endpoint does not trust; signs: %s.", list(signs, 5)),
			both(here("see whether this network inspects outgoing TLS, and have this destination exempted: mutual TLS cannot pass through such a proxy."), receiver("see whether a load balancer or CDN in front of the listener ends TLS.")))
		e.report.add(StepPath, f)
	case len(signs) > 0 && open:
		f := good(fmt.Sprintf("Suspicion (inferred): a proxy or CDN in front of the receiver ends TLS, so that the receiver never sees our certificate; signs: %s.", list(signs, 5)))
		f.do = receiver("let the proxy pass TLS through, or let it demand and verify client certificates itself.")
		f.wrong = e.report.failed()
		e.report.add(StepPath, f)
	}
}

// differ tells whether the receiver showed different certificates.
func (e *examination) differ() string {
	for _, p := range e.seen[1:] {
		first, later := e.seen[0].state.PeerCertificates, p.state.PeerCertificates
		if len(first) == 0 || len(later) == 0 || first[0].Equal(later[0]) {
			continue
		}
		said := fmt.Sprintf("the certificate differs between two handshakes with %s: serial number %x by %q, then %x by %q.", e.address,
			first[0].SerialNumber, first[0].Issuer, later[0].SerialNumber, later[0].Issuer)
		return said
	}
	return ""
}

// proxyHeaders are fields that a proxy adds to an answer (RFC 9110 section 7.6.3 for Via).
var proxyHeaders = [...]string{"Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-By", "X-Forwarded-Proto", "X-Forwarded-Server", "Proxy-Agent", "X-Proxy-Cache", "X-Cache", "X-Squid-Error", "X-Served-By", "X-Amz-Cf-Id", "Cf-Ray"}

func proxySigns(header http.Header) (signs []string) {
	for _, name := range proxyHeaders {
		if value := header.Get(name); value != "" {
			signs = append(signs, name+": "+clip(value))
		}
	}
	return signs
}

// interceptor recognises products that inspect TLS by the name of their authority.
func interceptor(issuer string) string {
	issuer = strings.ToLower(issuer)
	for _, product := range [...]string{"zscaler", "netskope", "fortinet", "fortigate", "palo alto", "blue coat", "bluecoat", "symantec web", "squid", "mitmproxy", "charles proxy", "sophos", "watchguard", "checkpoint", "forcepoint", "burp"} {
		if strings.Contains(issuer, product) {
			return product
		}
	}
	return ""
}

func clip(value string) string {
	if len(value) > 60 {
		value = value[:60] + "…"
	}
	return strings.ToValidUTF8(value, ".")
}
