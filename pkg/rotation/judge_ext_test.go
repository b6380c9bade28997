package rotation_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/rotation"
)

func http(status int) rotation.Result {
	return rotation.Result{End: rotation.Answered, Status: status, Basis: rotation.Said}
}

func TestJudge(t *testing.T) {
	refusal := rotation.Result{End: rotation.CertificateRefused, Basis: rotation.Said, Detail: "alert unknown_ca"}
	cut := rotation.Result{End: rotation.CertificateRefused, Basis: rotation.Inferred, Detail: "connection cut after the handshake"}
	none := rotation.Result{}
	down := rotation.Result{End: rotation.NoAnswer, Basis: rotation.Ours, Detail: "connection refused"}
	cases := []struct {
		name     string
		to, uses rotation.Result
		compare  bool
		stage    rotation.Stage
		basis    rotation.Basis
		says     string
		do       string
	}{
		{"204", http(204), none, false, rotation.Accepted, rotation.Said, "HTTP 204 (No Content)", ""},
		{"redirect", http(302), none, false, rotation.Accepted, rotation.Said, "302", ""},
		{"server error", http(503), none, false, rotation.Accepted, rotation.Said, "503", ""},
		{"too many", http(429), none, false, rotation.Accepted, rotation.Said, "429", ""},
		{"no such method, to both", http(405), http(405), true, rotation.Accepted, rotation.Said, "405", ""},
		{"no such method, nothing to compare", http(405), down, true, rotation.Accepted, rotation.Said, "405", ""},
		{"hidden from the next one only", http(404), http(200), true, rotation.Refused, rotation.Inferred, "treats it as another", "allow the name of next"},
		{"forbidden for the next one only", http(403), http(204), true, rotation.Refused, rotation.Inferred, "lets the certificate of next in and then refuses the name: it answered HTTP 403 (Forbidden), and it answered HTTP 204", "allow the name of next"},
		{"unauthorised for the next one only", http(401), http(405), true, rotation.Refused, rotation.Inferred, "refuses the name", "allow the name of next"},
		{"forbidden for both", http(403), http(403), true, rotation.Refused, rotation.Inferred, "cannot be told apart", "by hand"},
		{"401 and 403", http(401), http(403), true, rotation.Refused, rotation.Inferred, "cannot be told apart", "by hand"},
		{"forbidden, the other is down", http(403), down, true, rotation.Refused, rotation.Inferred, "no answer to compare: connection refused", "allow"},
		{"forbidden, the other is refused", http(403), refusal, true, rotation.Refused, rotation.Inferred, "no answer to compare: alert unknown_ca", "allow"},
		{"forbidden, not compared", http(403), none, true, rotation.Refused, rotation.Inferred, "no answer to compare", "allow"},
		{"misdirected", http(421), none, false, rotation.Refused, rotation.Said, "421", "accept next"},
		{"certificate error", http(495), none, false, rotation.Refused, rotation.Said, "495", "accept next"},
		{"certificate required", http(496), none, false, rotation.Refused, rotation.Said, "496", "accept next"},
		{"alert", refusal, none, false, rotation.Refused, rotation.Said, "refuses the certificate of next: alert unknown_ca", "trust the CA"},
		{"cut", cut, none, false, rotation.Refused, rotation.Inferred, "connection cut", "trust the CA"},
		{"not asked", rotation.Result{End: rotation.NotAsked, Basis: rotation.Ours}, none, false, rotation.Refused, rotation.Said, "did not ask", "require client certificates"},
		{"never asks and need not", rotation.Result{End: rotation.AnsweredUnasked, Status: 403}, none, false, rotation.Accepted, rotation.Said, "never asks", ""},
		{"never asks, no status", rotation.Result{End: rotation.AnsweredUnasked}, none, false, rotation.Unreachable, rotation.Inferred, "nothing that can be judged", "doctor"},
		{"server not trusted", rotation.Result{End: rotation.ServerNotTrusted, Basis: rotation.Ours, Detail: "expired"}, none, false, rotation.Unreachable, rotation.Ours, "never shown: expired", "doctor"},
		{"down", down, none, false, rotation.Unreachable, rotation.Ours, "did not answer: connection refused", "doctor"},
		{"not presented", rotation.Result{End: rotation.NotPresented, Basis: rotation.Ours}, none, false, rotation.Unreachable, rotation.Ours, "no usable identity next", "every dispatcher"},
		{"nothing", none, none, false, rotation.Unreachable, rotation.Inferred, "nothing that can be judged", "doctor"},
		{"beyond the list", rotation.Result{End: 99, Status: 200}, none, false, rotation.Unreachable, rotation.Inferred, "nothing", "doctor"},
		{"no status", http(0), none, false, rotation.Unreachable, rotation.Said, "nothing", "doctor"},
		{"an interim status", http(100), none, false, rotation.Unreachable, rotation.Said, "nothing", "doctor"},
		{"own advice", rotation.Result{End: rotation.NoAnswer, Advice: "ask Ada"}, none, false, rotation.Unreachable, rotation.Inferred, "", "ask Ada"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.compare, rotation.NeedsComparison(c.to))
			j := rotation.Judge(c.to, c.uses, "next", "default")
			assert.Equal(t, c.stage, j.Stage)
			assert.Equal(t, c.basis, j.Basis)
			assert.Contains(t, j.Reason, c.says)
			assert.Contains(t, j.Advice, c.do)
			assert.Equal(t, j.Stage == rotation.Accepted, j.Advice == "", "there is something to do exactly when it was not accepted")
		})
	}
}

// Only an HTTP answer is ever an acceptance, whatever the other exchange came to.
func TestOnlyAnAnswerIsAnAcceptance(t *testing.T) {
	for end := range rotation.End(20) {
		for status := range 700 {
			for _, other := range []rotation.Result{{}, http(200), http(403), {End: rotation.CertificateRefused}} {
				j := rotation.Judge(rotation.Result{End: end, Status: status}, other, "next", "default")
				if j.Stage != rotation.Accepted {
					continue
				}
				assert.Contains(t, []rotation.End{rotation.Answered, rotation.AnsweredUnasked}, end)
				assert.True(t, status >= 200 && status < 600)
				if end == rotation.Answered {
					assert.NotContains(t, []int{401, 403, 421, 495, 496}, status)
				}
			}
		}
	}
}
