package doctor_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

func TestReceiverThatAcceptsAnyone(t *testing.T) {
	both(t, func(w *world, config *tls.Config) {
		t := w.t
		config.ClientAuth = tls.RequireAnyClientCert
		r := w.examine(w.serve(config, nil), doctor.Options{})
		assert.False(t, r.Healthy)
		assert.Equal(t, doctor.Delivered, r.Outcome, "its deliveries would arrive")
		says(t, r, doctor.StepWithCurrent, true)
		says(t, r, doctor.StepWithoutCertificate, true)
		says(t, r, doctor.StepWithStranger, false, "accepts anyone's certificate", "HTTP 204", "not RequireAnyClientCert")
	})
}

// A receiver that looks at the subject only is found out, because the throw-away certificate has ours.
func TestReceiverThatLooksAtNamesOnly(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	config.ClientAuth = tls.RequestClientCert
	r := w.examine(w.serve(config, func(rw http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].URIs[0].String() != us {
			rw.WriteHeader(http.StatusForbidden)
		}
	}), doctor.Options{})
	assert.False(t, r.Healthy)
	says(t, r, doctor.StepWithoutCertificate, true, "lets the handshake pass and answers HTTP 403")
	says(t, r, doctor.StepWithStranger, false, "accepts anyone's certificate")
}

func TestReceiverThatDoesNotDemand(t *testing.T) {
	both(t, func(w *world, config *tls.Config) {
		t := w.t
		config.ClientAuth = tls.VerifyClientCertIfGiven
		r := w.examine(w.serve(config, nil), doctor.Options{})
		assert.False(t, r.Healthy)
		assert.Equal(t, doctor.Delivered, r.Outcome)
		says(t, r, doctor.StepWithoutCertificate, false, "does not demand one", "Anybody can send to it")
		says(t, r, doctor.StepWithStranger, true)
	})
}

// A bad request that only strangers get is a refusal; one that everybody gets is what the application says to OPTIONS.
func TestBadRequestIsComparedWithTheAnswerToOurs(t *testing.T) {
	for same, healthy := range map[bool]bool{false: true, true: false} {
		w := newWorld(t)
		config := w.config()
		config.ClientAuth = tls.VerifyClientCertIfGiven
		r := w.examine(w.serve(config, func(rw http.ResponseWriter, r *http.Request) {
			if same || len(r.TLS.PeerCertificates) == 0 {
				rw.WriteHeader(http.StatusBadRequest)
			}
		}), doctor.Options{})
		says(t, r, doctor.StepWithoutCertificate, healthy)
		assert.Equal(t, healthy, r.Healthy)
	}
}

func TestAnswersOfApplications(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusServiceUnavailable: "TLS is fine; what is behind it is not",
		http.StatusFound:              "never follow a redirect",
		http.StatusUnauthorized:       "credentials of another kind",
		http.StatusMethodNotAllowed:   "HTTP 405 Method Not Allowed",
		299:                           "HTTP 299",
	} {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t)
			r := w.examine(w.serve(w.config(), func(rw http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "handfast", r.Header.Get("WebHook-Request-Origin"))
				rw.WriteHeader(http.StatusEarlyHints)
				rw.WriteHeader(status)
			}), doctor.Options{})
			assert.True(t, r.Healthy)
			says(t, r, doctor.StepWithCurrent, true, want)
		})
	}
	t.Run("not HTTP", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.tlsServe(w.config(), func(_ net.Conn, conn *tls.Conn) {
			if conn.Handshake() == nil {
				bufio.NewReader(conn).ReadString('\n')
				io.WriteString(conn, "220 mail.example.com ESMTP\r\n\r\n")
			}
			conn.Close()
		}), doctor.Options{})
		assert.Equal(t, doctor.ConnectionLost, r.Outcome)
		says(t, r, doctor.StepWithCurrent, false, "is not HTTP")
	})
	t.Run("silence", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.tlsServe(w.config(), shake), doctor.Options{Timeout: 200 * time.Millisecond})
		assert.Equal(t, doctor.TimedOut, r.Outcome)
		says(t, r, doctor.StepWithCurrent, false, "shook hands but did not answer the OPTIONS request within 200ms", "no objection to the certificate")
	})
}

func TestNextIdentity(t *testing.T) {
	w := newWorld(t)
	other, err := authority.New("Next Client Root")
	require.NoError(t, err)
	target := w.serve(w.config(), nil)
	target.Next = w.identity("next", other)
	r := w.examine(target, doctor.Options{})
	assert.False(t, r.Healthy)
	assert.Equal(t, doctor.Delivered, r.Outcome, "deliveries go on with the current one")
	says(t, r, doctor.StepNextIdentity, true, "fit for use")
	says(t, r, doctor.StepWithNext, false, `refused "next" with the TLS alert "unknown certificate authority"`, "keep this endpoint on the current identity")
}
