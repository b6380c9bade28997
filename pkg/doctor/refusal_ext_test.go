package doctor_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// Each alert is told in words. A raw server sends it where the receiver would: after it has seen the certificate.
func TestRefusalsByAlert(t *testing.T) {
	for number, want := range map[byte]string{
		40:  "gave up the handshake after it had asked",
		42:  "damaged or unfit",
		43:  "type or key usage",
		44:  "for revoked",
		45:  "for expired or not yet valid",
		46:  "for a reason that it does not name",
		48:  "does not know the authority",
		49:  "not allowed in",
		51:  "could not verify the signature",
		71:  "too weak",
		80:  "failed while it looked at the certificate",
		111: "could not fetch",
		113: "OCSP status",
		114: "another certificate than the one announced",
		116: "requires a certificate",
	} {
		t.Run(tls.AlertError(number).Error(), func(t *testing.T) {
			w := newWorld(t)
			r := w.examine(w.tlsServe(w.refusing(number), shake), doctor.Options{})
			assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
			says(t, r, doctor.StepWithCurrent, false, want, `refused "default" with the TLS alert`, "trust the issuer")
		})
	}
	t.Run("one that is not about certificates", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.tlsServe(w.refusing(90), shake), doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepWithCurrent, false, `"user canceled"`, "somebody ended the handshake")
	})
}

// refusing is a receiver that ends the handshake with an alert once it has seen a certificate. On TLS 1.2 that alert is
// not encrypted yet, so it can be written past the TLS library, which would choose another.
func (w *world) refusing(alert byte) *tls.Config {
	config := w.config()
	config.ClientAuth = tls.RequestClientCert
	config.MaxVersion = tls.VersionTLS12
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		this := config.Clone()
		this.VerifyConnection = func(tls.ConnectionState) error {
			hello.Conn.Write([]byte{0x15, 3, 3, 0, 2, 2, alert})
			return io.EOF
		}
		return this, nil
	}
	return config
}

func shake(_ net.Conn, conn *tls.Conn) {
	_ = conn.Handshake()
	io.Copy(io.Discard, conn)
}

func TestRefusalsByClosing(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(raw net.Conn, conn *tls.Conn)
		want  string
	}{
		{"closed", func(raw net.Conn, conn *tls.Conn) {
			if conn.Handshake() == nil {
				conn.Read(make([]byte, 4096))
			}
		}, "closed the connection right after it had seen"},
		{"said goodbye", func(_ net.Conn, conn *tls.Conn) {
			if conn.Handshake() == nil {
				conn.Read(make([]byte, 4096))
				conn.Close()
			}
		}, "closed the connection right after it had seen"},
		{"reset", func(raw net.Conn, conn *tls.Conn) {
			if conn.Handshake() == nil {
				conn.Read(make([]byte, 4096))
				raw.(*net.TCPConn).SetLinger(0)
			}
		}, "reset the connection right after it had seen"},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(w *world, config *tls.Config) {
				t := w.t
				config.ClientAuth = tls.RequestClientCert
				r := w.examine(w.tlsServe(config, test.serve), doctor.Options{})
				assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
				says(t, r, doctor.StepWithCurrent, false, test.want, "inferred")
			})
		})
	}
	t.Run("who does not ask loses the connection", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.ClientAuth = tls.NoClientCert
		target := w.tlsServe(config, func(_ net.Conn, conn *tls.Conn) { conn.Read(make([]byte, 4096)) })
		target.Mutual = mtls.Requested
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.ConnectionLost, r.Outcome)
		says(t, r, doctor.StepWithCurrent, false, "closed the connection before it answered")
	})
}

// nginx is a receiver that lets every handshake pass and judges the certificate in HTTP.
func nginx(w *world, config *tls.Config, verdict func(missing bool) (int, string)) doctor.Target {
	config.ClientAuth = tls.RequestClientCert
	return w.serve(config, func(rw http.ResponseWriter, r *http.Request) {
		status, page := verdict(len(r.TLS.PeerCertificates) == 0)
		rw.WriteHeader(status)
		io.WriteString(rw, page)
	})
}

func TestRefusalsByPage(t *testing.T) {
	const missing, wrong = "<html><center>No required SSL certificate was sent</center></html>", "<html><center>The SSL certificate error</center></html>"
	t.Run("400", func(t *testing.T) {
		both(t, func(w *world, config *tls.Config) {
			t := w.t
			r := w.examine(nginx(w, config, func(none bool) (int, string) {
				if none {
					return http.StatusBadRequest, missing
				}
				return http.StatusBadRequest, wrong
			}), doctor.Options{})
			assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
			says(t, r, doctor.StepWithCurrent, false, "HTTP 400 Bad Request and a page that says so", "ssl_client_certificate")
			says(t, r, doctor.StepWithoutCertificate, true, "HTTP 400")
			says(t, r, doctor.StepWithStranger, true, "HTTP 400")
		})
	})
	for status, want := range map[int]string{495: "495 (nginx: SSL certificate error)", 496: "496 (nginx", http.StatusForbidden: "does not let \"default\" in by its name"} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			w := newWorld(t)
			r := w.examine(nginx(w, w.config(), func(bool) (int, string) { return status, "" }), doctor.Options{})
			assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
			says(t, r, doctor.StepWithCurrent, false, want)
			says(t, r, doctor.StepWithoutCertificate, true, "as it must")
		})
	}
}

// deaf is a connection on which nothing can be written any more once the handshake is done. Its last flight begins with
// a record of another type (RFC 8446 appendix D.4), so the first write of application data is the request.
type deaf struct{ net.Conn }

func (d deaf) Write(p []byte) (int, error) {
	if p[0] == 0x17 {
		return 0, syscall.EPIPE
	}
	return d.Conn.Write(p)
}

// On TLS 1.3 our request may meet a connection that the receiver has closed already. What it said before goes first.
func TestRefusalIsHeardWhenNothingCanBeWritten(t *testing.T) {
	w := newWorld(t)
	other, err := authority.New("Somebody Else")
	require.NoError(t, err)
	config := w.config()
	config.ClientCAs = pool(other)
	r := w.examine(w.serve(config, nil), doctor.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return deaf{conn}, err
	}})
	assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
	says(t, r, doctor.StepWithCurrent, false, `TLS alert "unknown certificate authority"`)
}
