package receiver

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
)

// examine has the doctor look at a listener, with the files of this identity; none for "".
func (w *world) examine(t *testing.T, address, identity string, alter ...func(*doctor.Target)) *doctor.Report {
	t.Helper()
	target := doctor.Target{
		URL:   &url.URL{Scheme: "https", Host: net.JoinHostPort(receiverName, portOf(t, address)), Path: "/hooks/in"},
		Trust: w.trust, Roots: []*x509.Certificate{w.serverCA.Certificate()},
	}
	if identity != "" {
		files := w.pairs[identity]
		target.Current = doctor.ReadIdentity(identity, files.certificate, files.key, time.Now())
	}
	for _, a := range alter {
		a(&target)
	}
	report, err := doctor.Examine(t.Context(), target, doctor.Options{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	})
	require.NoError(t, err)
	return report
}

// told is a step of a report.
func told(t *testing.T, report *doctor.Report, name doctor.Name) doctor.Step {
	t.Helper()
	for _, step := range report.Steps {
		if step.Step == name {
			return step
		}
	}
	require.Failf(t, "a step is missing", "%s in %+v", name, report)
	return doctor.Step{}
}

// foundHealthy also shows that the doctor sends no message: OPTIONS without a body reaches the application.
func foundHealthy(t *testing.T, on terms, at running) {
	t.Helper()
	_, before := at.app.received(t)
	report := on.examine(t, at.address, good)
	assert.True(t, report.Healthy, "%+v", report)
	assert.Equal(t, doctor.Delivered, report.Outcome)
	assert.True(t, told(t, report, doctor.StepWithoutCertificate).OK)
	assert.True(t, told(t, report, doctor.StepWithStranger).OK)
	_, body := at.app.received(t)
	assert.Equal(t, before, body)
}

// examined holds the doctor's words against the listener's deed.
func examined(t *testing.T, l listener, on terms, at running, identity string) {
	t.Helper()
	want := l.verdict(identity, on)
	before, _ := at.app.received(t)
	for range 3 {
		report := on.examine(t, at.address, identity)
		if want.kind == 0 {
			assert.True(t, report.Healthy, "%+v", report)
			continue
		}
		diagnosed(t, report, identity, want)
	}
	if want.kind != 0 {
		requests, _ := at.app.received(t)
		assert.Equal(t, before, requests, "not even the doctor's question gets through")
	}
}

func diagnosed(t *testing.T, report *doctor.Report, identity string, want verdict) {
	t.Helper()
	assert.False(t, report.Healthy)
	outcome := doctor.ClientCertificateRefused
	switch identity {
	case wrongUsage: // found in the file already
		outcome = doctor.NoIdentity
		assert.Contains(t, told(t, report, doctor.StepIdentity).Said, "clientAuth")
	case expired:
		outcome = doctor.NoIdentity
		assert.Contains(t, told(t, report, doctor.StepIdentity).Said, "expired")
	case wrongCA:
		request := told(t, report, doctor.StepCertificateRequest)
		assert.Contains(t, request.Said, "CN=Handfast clients", "whom the receiver trusts")
		assert.Contains(t, request.Said, "CN=A stranger", "and who issued ours")
	}
	assert.Equal(t, outcome, report.Outcome, "%+v", report)
	step := told(t, report, doctor.StepWithCurrent)
	assert.False(t, step.OK)
	assert.Contains(t, step.Said, want.doctor)
	assert.NotEmpty(t, step.Do)
	assert.Equal(t, want.basis == mtls.Inferred, strings.Contains(step.Said, "inferred"), "what was concluded is not told as a fact: %s", step.Said)
	assert.True(t, told(t, report, doctor.StepWithoutCertificate).OK)
	assert.True(t, told(t, report, doctor.StepWithStranger).OK)
}

func foundMisnamed(t *testing.T, on terms, at running) {
	t.Helper()
	report := on.examine(t, at.address, good, func(target *doctor.Target) { target.ServerName = otherName })
	assert.False(t, report.Healthy)
	assert.Equal(t, doctor.ServerNameMismatch, report.Outcome, "%+v", report)
	step := told(t, report, doctor.StepServerCertificate)
	assert.Contains(t, step.Said, otherName)
	assert.Contains(t, step.Said, receiverName)
	assert.Contains(t, step.Do, "tls.server_name")
}

func foundWithout(t *testing.T, on terms, at running) {
	t.Helper()
	report := on.examine(t, at.address, "")
	assert.False(t, report.Healthy)
	assert.Equal(t, doctor.NoIdentity, report.Outcome, "%+v", report)
	assert.True(t, told(t, report, doctor.StepWithoutCertificate).OK, "%+v", report)
}
