package rotation

import (
	"fmt"
	"net/http"
)

// End says what one exchange of a probe ended in. The zero value is none of them and is never an acceptance.
type End uint8

// The closed list of ends. The names of DESIGN.md section 6 that each stands for are in the comments.
const (
	// Answered: the receiver asked for the certificate, got it, and gave an HTTP answer.
	Answered End = iota + 1
	// AnsweredUnasked: an HTTP answer from a receiver that never asked for a certificate, and need not.
	AnsweredUnasked
	// NotAsked: a receiver that must ask for the certificate did not (client_certificate_not_requested).
	NotAsked
	// CertificateRefused: by an alert, a cut connection, or a page that says so (client_certificate_refused).
	CertificateRefused
	// ServerNotTrusted: its own certificate did not pass (server_certificate_…, server_name_mismatch).
	ServerNotTrusted
	// NoAnswer: any failure of the network or of the handshake (handshake_failed, connection_refused, timed_out, …).
	NoAnswer
	// NotPresented: this dispatcher does not have the identity, or cannot use it (no_identity).
	NotPresented
)

// Result is what one exchange of a probe came to: a handshake, and an OPTIONS request if that went well.
type Result struct {
	End End
	// Status is the HTTP status, for Answered and AnsweredUnasked.
	Status int
	// Basis tells how End is known.
	Basis Basis
	// Detail and Advice are the words of a failure, for people.
	Detail, Advice string
}

// Judgement is what a probe says about an endpoint.
type Judgement struct {
	Stage  Stage
	Basis  Basis
	Reason string
	Advice string
}

// Statuses of nginx for client certificates that are wrong or missing, which it shows only to its own error pages and
// to proxies in front of it.
const (
	statusCertificateError    = 495
	statusCertificateRequired = 496
)

// NeedsComparison tells whether a result under the next identity can only be judged beside one under the current one.
func NeedsComparison(to Result) bool {
	return to.End == Answered && (forbids(to.Status) || objects(to.Status))
}

// Judge says what the results of a probe mean: to under the identity next, and uses under current, which is looked at
// only if [NeedsComparison] says so and may be the zero value otherwise. It is pure. What it does not know is never an
// acceptance.
func Judge(to, uses Result, next, current string) Judgement {
	switch to.End {
	case Answered:
		return judgeAnswer(to, uses, next, current)
	case AnsweredUnasked:
		if !answer(to.Status) {
			return noAnswer(to)
		}
		return Judgement{Stage: Accepted, Basis: Said, Reason: "it never asks for a certificate, and need not: the identity makes no difference"}
	case NotAsked:
		return refused(to, Said, "it did not ask for our certificate, so nothing was proved",
			"Let the receiver require client certificates, or set tls.mutual of the endpoint to requested")
	case CertificateRefused:
		return refused(to, to.Basis, "it refuses the certificate of "+next,
			fmt.Sprintf("Let the receiver trust the CA and accept the name of %s, beside those of %s", next, current))
	case ServerNotTrusted:
		return unreachable(to, "its own certificate was not accepted, so ours was never shown", "See `handfast doctor` for this endpoint")
	case NoAnswer:
		return unreachable(to, "it did not answer", "See `handfast doctor` for this endpoint")
	case NotPresented:
		return unreachable(to, "this dispatcher has no usable identity "+next, "Give every dispatcher the identity "+next)
	}
	return noAnswer(to)
}

func judgeAnswer(to, uses Result, next, current string) Judgement {
	switch {
	case !answer(to.Status):
		return noAnswer(to)
	case to.Status == http.StatusMisdirectedRequest, to.Status == statusCertificateError, to.Status == statusCertificateRequired:
		return Judgement{
			Stage: Refused, Basis: Said, Reason: fmt.Sprintf("it refuses the certificate of %s: %s", next, say(to.Status)),
			Advice: fmt.Sprintf("Let the receiver accept %s for this name; see `handfast doctor` for this endpoint", next),
		}
	case forbids(to.Status):
		return judgeForbidden(to, uses, next, current)
	case objects(to.Status) && uses.End == Answered && answer(uses.Status) && uses.Status < http.StatusBadRequest:
		return Judgement{
			Stage: Refused, Basis: Inferred,
			Reason: fmt.Sprintf("it lets the certificate of %s in and then treats it as another: %s, and %s to %s", next, say(to.Status), say(uses.Status), current),
			Advice: fmt.Sprintf("Let the receiver allow the name of %s wherever it allows that of %s", next, current),
		}
	}
	return Judgement{Stage: Accepted, Basis: Said, Reason: "it accepts the certificate: " + say(to.Status)}
}

// judgeForbidden looks at a receiver that speaks HTTP with the next identity and then says no.
func judgeForbidden(to, uses Result, next, current string) Judgement {
	if uses.End == Answered && forbids(uses.Status) {
		return Judgement{
			Stage: Refused, Basis: Inferred,
			Reason: fmt.Sprintf("whether it accepts %s cannot be told apart: %s to %s, and %s to %s", next, say(to.Status), next, say(uses.Status), current),
			Advice: fmt.Sprintf("It seems to refuse every OPTIONS request. If its operator says that %s is allowed, accept the endpoint by hand", next),
		}
	}
	j := Judgement{
		Stage: Refused, Basis: Inferred,
		Reason: fmt.Sprintf("it lets the certificate of %s in and then refuses the name: %s", next, say(to.Status)),
		Advice: fmt.Sprintf("Let the receiver allow the name of %s wherever it allows that of %s", next, current),
	}
	if uses.End == Answered && answer(uses.Status) {
		j.Reason += fmt.Sprintf(", and %s to %s", say(uses.Status), current)
	} else {
		j.Reason += fmt.Sprintf("; under %s there was no answer to compare", current)
		if uses.Detail != "" {
			j.Reason += ": " + uses.Detail
		}
	}
	return j
}

// forbids are the answers by which a receiver refuses a name that it has authenticated.
func forbids(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// objects are the other answers that may depend on who asks; those that depend on the moment are left out.
func objects(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusMisdirectedRequest,
		statusCertificateError, statusCertificateRequired:
		return false
	}
	return status >= 400 && status < 500 && !forbids(status)
}

// answer tells whether a number is a final HTTP status (RFC 9110 section 15).
func answer(status int) bool { return status >= 200 && status < 600 }

func say(status int) string {
	text := http.StatusText(status)
	if text == "" {
		return fmt.Sprintf("it answered HTTP %d", status)
	}
	return fmt.Sprintf("it answered HTTP %d (%s)", status, text)
}

func refused(r Result, basis Basis, reason, advice string) Judgement {
	return Judgement{Stage: Refused, Basis: known(basis), Reason: join(reason, r.Detail), Advice: orElse(r.Advice, advice)}
}

func unreachable(r Result, reason, advice string) Judgement {
	return Judgement{Stage: Unreachable, Basis: known(r.Basis), Reason: join(reason, r.Detail), Advice: orElse(r.Advice, advice)}
}

func noAnswer(r Result) Judgement {
	return unreachable(r, "the probe came to nothing that can be judged", "See `handfast doctor` for this endpoint")
}

// known keeps a basis that a prober forgot, or may not give, from being stored.
func known(b Basis) Basis {
	if b == Said || b == Ours {
		return b
	}
	return Inferred
}

func join(reason, detail string) string {
	if detail == "" {
		return reason
	}
	return reason + ": " + detail
}

func orElse(words, otherwise string) string {
	if words == "" {
		return otherwise
	}
	return words
}
