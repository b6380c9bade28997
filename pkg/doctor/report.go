package doctor

import (
	"strings"
)

// Report is what an examination found.
type Report struct {
	// Healthy: deliveries get through, and nobody else does.
	Healthy bool `json:"healthy"`
	// Outcome is what a delivery would end in now.
	Outcome Outcome `json:"outcome"`
	Steps   []Step  `json:"steps"`
}

// Step is one thing that was looked at.
type Step struct {
	// Step names it; the names are those of the constants in this package.
	Step Name `json:"step"`
	// OK: nothing about it has to change.
	OK bool `json:"ok"`
	// Said is what happened and what it means.
	Said string `json:"said"`
	// Do is what has to change, a line for each side that has to change something; empty when nothing has to.
	Do string `json:"do"`

	outcome Outcome
}

// Name is the name of a step. The list is closed.
type Name string

// The steps, in the order of a report. Those that tell nothing are left out of it.
const (
	StepName               Name = "name"
	StepConnection         Name = "connection"
	StepTLS                Name = "tls"
	StepServerCertificate  Name = "server_certificate"
	StepRevocation         Name = "revocation"
	StepCertificateRequest Name = "certificate_request"
	StepIdentity           Name = "identity"
	StepWithCurrent        Name = "with_current"
	StepNextIdentity       Name = "next_identity"
	StepWithNext           Name = "with_next"
	StepWithoutCertificate Name = "without_certificate"
	StepWithStranger       Name = "with_stranger"
	StepHost               Name = "host"
	StepClock              Name = "clock"
	StepPath               Name = "path"
)

// Outcome is a name of DESIGN.md section 6. The list is closed; it holds what an examination can find out.
type Outcome string

// The outcomes.
const (
	Delivered                     Outcome = "delivered"
	Rejected                      Outcome = "rejected"
	ClientCertificateNotRequested Outcome = "client_certificate_not_requested"
	ClientCertificateRefused      Outcome = "client_certificate_refused"
	ServerCertificateUntrusted    Outcome = "server_certificate_untrusted"
	ServerCertificateExpired      Outcome = "server_certificate_expired"
	ServerNameMismatch            Outcome = "server_name_mismatch"
	ServerCertificateRevoked      Outcome = "server_certificate_revoked"
	HandshakeFailed               Outcome = "handshake_failed"
	NameNotResolved               Outcome = "name_not_resolved"
	ConnectionRefused             Outcome = "connection_refused"
	TimedOut                      Outcome = "timed_out"
	ConnectionLost                Outcome = "connection_lost"
	NoIdentity                    Outcome = "no_identity"
)

// finding is what one step comes to.
type finding struct {
	outcome Outcome // Delivered when it is no reason for a delivery to fail
	wrong   bool    // although nothing keeps a delivery from its end
	said    string
	do      string
}

func good(said string) finding { return finding{outcome: Delivered, said: said} }

func bad(outcome Outcome, said, do string) finding {
	return finding{outcome: outcome, wrong: true, said: said, do: do}
}

func (r *Report) add(name Name, f finding) {
	r.Steps = append(r.Steps, Step{Step: name, OK: !f.wrong, Said: f.said, Do: f.do, outcome: f.outcome})
}

// conclude takes the outcome of the first step that fails a delivery: the steps stand in the order of a connection.
func (r *Report) conclude() {
	r.Healthy, r.Outcome = true, Delivered
	for _, s := range r.Steps {
		r.Healthy = r.Healthy && s.OK
		// What becomes of the next identity is no matter of today's deliveries.
		if r.Outcome == Delivered && s.Step != StepNextIdentity && s.Step != StepWithNext {
			r.Outcome = s.outcome
		}
	}
}

// failed tells whether any step so far would fail a delivery.
func (r *Report) failed() bool {
	for _, s := range r.Steps {
		if !s.OK {
			return true
		}
	}
	return false
}

// receiver and here begin what one side has to do.
func receiver(do string) string { return "Receiver: " + do }

func here(do string) string { return "Here: " + do }

// both joins what the sides have to do, a line each.
func both(lines ...string) string { return strings.Join(lines, "\n") }
