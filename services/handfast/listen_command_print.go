package main

import (
	"cmp"
	"strings"

	"github.com/handfast/handfast/services/handfast/listener"
	"github.com/handfast/handfast/services/handfast/table"
)

// printHandshake tells about one handshake beside the deliveries: whom it was with, what was agreed and what was checked.
func printHandshake(s streams, h listener.Handshake) {
	var agreed []string
	for _, word := range []string{h.Version, h.Cipher, h.Curve, h.Protocol} {
		if word != "" {
			agreed = append(agreed, table.Clean(word))
		}
	}
	about := cmp.Or(strings.Join(agreed, ", "), "nothing was agreed")
	if h.ServerName != "" {
		about += ", asked for " + table.Clean(h.ServerName)
	}
	verdict := "handshake"
	if h.Refusal != "" {
		verdict = "handshake failed"
	}
	if h.Resumed {
		verdict = "resumed " + verdict
	}
	lines := []string{stamp(h.At) + "  " + verdict + " with " + h.Remote + " after " + short(h.Took) + ": " + about}
	for i, c := range h.Chain {
		label := "  client   "
		if i > 0 {
			label = "  then     "
		}
		lines = append(lines, label+certificate(c))
	}
	if len(h.Checked) > 0 {
		lines = append(lines, "  checked  "+table.Clean(strings.Join(h.Checked, "; ")))
	}
	if h.Refusal != "" {
		lines = append(lines, "  refused  "+table.Clean(h.Refusal))
	}
	s.hintf("%s", strings.Join(lines, "\n"))
}

func certificate(c listener.Certificate) string {
	who := cmp.Or(c.Subject, "(no subject)")
	if len(c.Names) > 0 {
		who += ", names " + strings.Join(c.Names, " ")
	}
	return table.Clean(who + ", issued by " + c.Issuer + ", from " + stamp(c.NotBefore) + " until " + stamp(c.NotAfter) + ", sha256 " + c.Fingerprint)
}
