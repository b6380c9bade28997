package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

func outcomeWords(r receipt.Receipt) string {
	if r.Status > 0 {
		return fmt.Sprintf("%s (HTTP %d)", r.Outcome, r.Status)
	}
	return r.Outcome.String()
}

// printAttempt is one attempt on a line or two.
func printAttempt(s streams, r receipt.Receipt) {
	s.printf("%s  %s/%s  %s  attempt %d, %s  %s\n", stamp(r.At), r.Tenant, r.Endpoint, outcomeWords(r), r.Attempt, short(r.Duration), r.Delivery)
	if r.Outcome == delivery.Delivered {
		return
	}
	if r.Detail != "" {
		s.printf("  %s\n", table.Clean(r.Detail))
	}
	if r.Advice != "" {
		s.printf("  to do: %s\n", table.Clean(r.Advice))
	}
	if r.Next != nil {
		s.printf("  next attempt at %s\n", stamp(*r.Next))
	} else {
		s.printf("  given up\n")
	}
}

// field is one line of a block: a word and what it says, when it says something.
func (s streams) field(indent, name, text string) {
	if text != "" {
		s.printf("%s%-9s  %s\n", indent, name, table.Clean(text))
	}
}

func printDelivery(s streams, shown operator.Shown) {
	s.field("", "delivery", string(shown.Delivery))
	s.field("", "endpoint", shown.Endpoint)
	if n := len(shown.Attempts); n > 0 {
		e := shown.Attempts[n-1].Event
		s.field("", "event", fmt.Sprintf("%s, id %s from %s, number %d in EVENTS", e.Type, e.ID, e.Source, e.Sequence))
		s.field("", "stored", stamp(shown.Attempts[0].First))
	}
	s.field("", "now", shown.Words)
	var before *mtls.Proof
	for _, r := range shown.Attempts {
		s.printf("\nattempt %d at %s: %s, %s\n", r.Attempt, stamp(r.At), outcomeWords(r), originWords(r.Origin))
		s.field("  ", "what", r.Detail)
		s.field("  ", "to do", r.Advice)
		if r.Next != nil {
			s.field("  ", "next", stamp(*r.Next))
		}
		connection := "on a new connection"
		if r.Reused {
			connection = "on a connection that was open"
		}
		s.field("  ", "took", short(r.Duration)+" "+connection)
		s.field("  ", "signed", stamp(r.SignedAt)+" with "+strings.Join(r.Keys, ", "))
		if r.Proof != nil && before != nil && before.At.Equal(r.Proof.At) {
			s.field("  ", "proof", "the same handshake as of the attempt before")
		} else {
			printProof(s, r.Proof)
		}
		before = r.Proof
		s.field("  ", "trace", r.Trace)
		s.field("  ", "sent by", "dispatcher "+r.Dispatcher)
	}
	if l := shown.Letter; l != nil {
		s.printf("\ndead letter of %s, after attempt %d\n", stamp(l.At), l.Attempt)
		for _, reason := range l.Reasons {
			s.field("  ", "why", reason)
		}
	}
}

func originWords(o delivery.Origin) string {
	switch o {
	case delivery.Said:
		return "as the receiver said"
	case delivery.Inferred:
		return "as we conclude from the connection"
	case delivery.Ours:
		return "decided on our side"
	}
	return o.String()
}

func printProof(s streams, p *mtls.Proof) {
	if p == nil {
		s.field("  ", "proof", "none: no TLS handshake was completed")
		return
	}
	remote := p.Authority
	if p.Remote != "" && p.Remote != p.Authority {
		remote += " at " + p.Remote
	}
	s.field("  ", "with", remote+", who must prove to be "+p.ServerName)
	protocol := strings.Join(slicesOf(p.Version, p.Cipher, p.Curve, p.ALPN), ", ")
	if protocol != "" {
		s.field("  ", "tls", fmt.Sprintf("%s, in %s at %s", protocol, short(p.Handshake), stamp(p.At)))
	}
	s.field("  ", "server", partyWords(p.Server))
	switch {
	case p.Client != nil:
		s.field("  ", "client", partyWords(p.Client))
	case p.Requested:
		s.field("  ", "client", "we were asked for a certificate and presented none")
	default:
		s.field("  ", "client", "we were not asked for a certificate")
	}
	if p.AcceptableCount > 0 {
		more := ""
		if n := p.AcceptableCount - len(p.AcceptableCAs); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		s.field("  ", "accepts", strings.Join(p.AcceptableCAs, "; ")+more)
	}
	s.field("  ", "but", p.Unlisted)
}

func slicesOf(texts ...string) []string {
	var all []string
	for _, text := range texts {
		if text != "" {
			all = append(all, text)
		}
	}
	return all
}

func partyWords(p *mtls.Party) string {
	if p == nil {
		return ""
	}
	fingerprint := ""
	if len(p.Fingerprints) > 0 {
		fingerprint = ", sha256 " + p.Fingerprints[0]
	}
	return fmt.Sprintf("%s, issued by %s, until %s%s", p.Name(), p.Issuer, p.NotAfter.UTC().Format(time.RFC3339), fingerprint)
}
