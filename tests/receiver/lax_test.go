package receiver

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
)

// TestLaxReceivers configures real listeners as people do by mistake. Nothing is sent to one that does not ask; what one
// lets in that asks but does not insist, only the doctor can see.
func TestLaxReceivers(t *testing.T) {
	enabled(t)
	w := newWorld(t)
	type starter func(*testing.T, terms, string) running
	for name, tc := range map[string]struct {
		of         listener
		start      starter
		from       string
		right, lax string
		asks       bool
		strict     bool // somebody without a certificate is turned away
		verifies   bool // a certificate that nobody issued is turned away
	}{
		"nginx off":            {of: nginx(), start: startNginx, from: nginxConfiguration, right: "ssl_verify_client on", lax: "ssl_verify_client off"},
		"nginx optional":       {of: nginx(), start: startNginx, from: nginxConfiguration, right: "ssl_verify_client on", lax: "ssl_verify_client optional", asks: true, verifies: true},
		"nginx optional_no_ca": {of: nginx(), start: startNginx, from: nginxConfiguration, right: "ssl_crl DIR/crl.pem;\n    ssl_verify_client on", lax: "ssl_verify_client optional_no_ca", asks: true},
		"haproxy none":         {of: haproxy(), start: startHaproxy, from: haproxyConfiguration, right: "verify required", lax: "verify none"},
		"haproxy optional":     {of: haproxy(), start: startHaproxy, from: haproxyConfiguration, right: "verify required", lax: "verify optional", asks: true, verifies: true},
		"caddy request":        {of: caddy(), start: startCaddy, from: caddyConfiguration, right: "mode require_and_verify", lax: "mode request", asks: true},
		"caddy require":        {of: caddy(), start: startCaddy, from: caddyConfiguration, right: "mode require_and_verify", lax: "mode require", asks: true, strict: true},
	} {
		t.Run(name, func(t *testing.T) {
			installed(t, tc.of)
			on := terms{world: w, version: tls.VersionTLS13, protocol: http2}
			require.Contains(t, tc.from, tc.right)
			at := tc.start(t, on, strings.Replace(tc.from, tc.right, tc.lax, 1))
			s := newSender(t)
			response, failure := s.deliver(t, w.target(at.address, good))
			report := w.examine(t, at.address, good)
			assert.False(t, report.Healthy, "%+v", report)
			if !tc.asks {
				require.NotNil(t, failure)
				assert.Equal(t, mtls.ClientCertificateNotRequested, failure.Kind, "%v", failure)
				assert.Less(t, s.written.Load(), int64(8<<10))
				assert.Equal(t, doctor.ClientCertificateNotRequested, report.Outcome, "%+v", report)
				_, body := at.app.received(t)
				assert.Zero(t, body)
				return
			}
			require.Nil(t, failure, "%v", failure)
			assert.Equal(t, http.StatusNoContent, response.Status)
			assert.Equal(t, doctor.Delivered, report.Outcome, "deliveries arrive, and so does everybody else's: %+v", report)
			assert.Equal(t, tc.strict, told(t, report, doctor.StepWithoutCertificate).OK, "%+v", report)
			assert.Equal(t, tc.verifies, told(t, report, doctor.StepWithStranger).OK, "%+v", report)
		})
	}
}

// TestMisdirected: Caddy answers 421 when the name in the request is not the one of the handshake.
func TestMisdirected(t *testing.T) {
	enabled(t)
	installed(t, caddy())
	w := newWorld(t)
	for _, protocol := range []string{http1, http2} {
		t.Run(protocol, func(t *testing.T) {
			at := startCaddy(t, terms{world: w, version: tls.VersionTLS13, protocol: protocol}, caddyConfiguration)
			s := newSender(t)
			_, failure := s.deliver(t, w.target(at.address, good), func(r *mtls.Request) { r.Host = otherName })
			require.NotNil(t, failure)
			assert.Equal(t, mtls.ClientCertificateRefused, failure.Kind, "%v", failure)
			assert.Equal(t, mtls.Inferred, failure.Basis)
			assert.Contains(t, failure.Detail, "HTTP 421")
			requests, _ := at.app.received(t)
			assert.Zero(t, requests)
		})
	}
}
