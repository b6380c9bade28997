package doctor_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
)

// greet says something first, and then waits for the other side to go away.
func greet(words string) func(net.Conn) {
	return func(conn net.Conn) {
		io.WriteString(conn, words)
		io.Copy(io.Discard, conn)
	}
}

func TestWhatIsNotTLS(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(net.Conn)
		want  []string
	}{
		{"ssh", greet("SSH-2.0-OpenSSH_9.6\r\n"), []string{"an SSH server", `"SSH-2.0-OpenSSH_9.6"`, "SSH listens there"}},
		{"mail", greet("220 mail.example.com ESMTP\r\n"), []string{"a mail or FTP server"}},
		{"binary", greet("\x00\x01\x02\x03\xff\xfe\n"), []string{"something that is not TLS", `"......"`}},
		{"less than a record", greet("hi"), []string{"something that is not TLS", `"hi"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.examine(w.speak(test.serve), doctor.Options{Timeout: time.Second})
			assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
			says(t, r, doctor.StepTLS, false, append(test.want, "does not speak TLS")...)
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		w := newWorld(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s := &http.Server{Handler: http.NotFoundHandler()}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		r := w.examine(w.target(l.Addr().String()), doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "plain HTTP", "HTTP/1.1 400", "turn TLS on for this port")
	})
}

func TestHandshakesThatEndEarly(t *testing.T) {
	t.Run("silence", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.speak(func(conn net.Conn) { io.Copy(io.Discard, conn) }), doctor.Options{Timeout: 50 * time.Millisecond})
		assert.Equal(t, doctor.TimedOut, r.Outcome)
		says(t, r, doctor.StepTLS, false, "did not answer the TLS handshake within 50ms")
	})
	t.Run("closed", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.speak(func(conn net.Conn) { conn.Read(make([]byte, 4096)) }), doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "closed the connection in the middle of the TLS handshake")
	})
	t.Run("reset", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.speak(func(conn net.Conn) {
			conn.Read(make([]byte, 16))
			conn.(*net.TCPConn).SetLinger(0)
		}), doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "reset the connection in the middle")
	})
	t.Run("old version", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		r := w.examine(w.serve(config, nil), doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "speaks no version of TLS that this endpoint accepts (TLS 1.2 or newer)", "is TLS 1.1", "protocol version not supported", "Receiver: turn on TLS 1.2")
	})
	t.Run("1.3 demanded", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.MaxVersion = tls.VersionTLS12
		target := w.serve(config, nil)
		target.MinVersion = mtls.TLS13
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "(TLS 1.3 or newer)", "is TLS 1.2", "Here: or accept TLS 1.2")
	})
	t.Run("weak cipher, certificate not trusted either", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}
		target := w.serve(config, nil)
		other := newWorld(t).target("127.0.0.1:1")
		target.Trust, target.Roots = other.Trust, other.Roots
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "handshake failure", "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", "allow modern ciphers")
	})
	t.Run("no cipher at all", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.speak(alerting(40)), doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "handshake failure", "can look the same")
	})
	t.Run("name not served", func(t *testing.T) {
		w := newWorld(t)
		target := w.speak(alerting(112))
		target.ServerName = "Hooks.example.com"
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.HandshakeFailed, r.Outcome)
		says(t, r, doctor.StepTLS, false, "unrecognized name", `TLS asked for "hooks.example.com"`, "check tls.server_name")
	})
	t.Run("unknown alert", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.speak(alerting(200)), doctor.Options{})
		says(t, r, doctor.StepTLS, false, `"alert(200)"`, "its TLS log says why")
	})
}

// alerting answers a handshake with a fatal alert (RFC 8446 section 6).
func alerting(alert byte) func(net.Conn) {
	return func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		conn.Write([]byte{0x15, 3, 3, 0, 2, 2, alert})
		io.Copy(io.Discard, conn)
	}
}
