package main

import (
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

// printSigning tells, in comments, which schemes retire and what is known against those that sign.
func printSigning(s streams, e *endpoint.Endpoint, now time.Time) {
	for _, r := range e.Signature.Retiring {
		if now.After(r.Until) {
			s.printf("# scheme %s has retired at %s\n", r.Scheme, stamp(r.Until))
			continue
		}
		s.printf("# scheme %s is removed and still signs, until %s; `handfast endpoint apply --now` ends it\n", r.Scheme, stamp(r.Until))
	}
	for _, warning := range operator.Warnings(e, now) {
		s.printf("# warning: %s\n", table.Clean(warning))
	}
}

// signedWith names the schemes that sign, those that retire in brackets.
func signedWith(e *endpoint.Endpoint, now time.Time) string {
	text := strings.Join(e.Signature.Schemes, " ")
	if retiring := e.Signature.Signing(now)[len(e.Signature.Schemes):]; len(retiring) > 0 {
		text += " (" + strings.Join(retiring, " ") + ")"
	}
	return text
}
