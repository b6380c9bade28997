package doctor_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
)

func TestHealthyReceiver(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			config.MaxVersion = version
			target := w.serve(config, nil)
			target.Next = w.identity("next", w.ours)
			r := w.examine(target, doctor.Options{})
			assert.True(t, r.Healthy, "%+v", r.Steps)
			assert.Equal(t, doctor.Delivered, r.Outcome)
			says(t, r, doctor.StepConnection, true, "is open")
			says(t, r, doctor.StepTLS, true, tls.VersionName(version))
			says(t, r, doctor.StepServerCertificate, true, "hooks.example.com", "CN=Receiver Root", "passes this endpoint's trust")
			says(t, r, doctor.StepCertificateRequest, true, `asks for a client certificate issued by "CN=Handfast Client Root"`)
			says(t, r, doctor.StepIdentity, true, "fit for use", us)
			says(t, r, doctor.StepWithCurrent, true, `accepted "default"`, "HTTP 204")
			says(t, r, doctor.StepWithNext, true, `accepted "next"`)
			says(t, r, doctor.StepWithoutCertificate, true, "alert", "as it must")
			says(t, r, doctor.StepWithStranger, true, "gets nowhere", "as it must")
			says(t, r, doctor.StepClock, true, "agree")
			assert.Equal(t, []string{"OPTIONS " + secretPath, "OPTIONS " + secretPath}, w.requests, "of the four connections, two may ask")
		})
	}
}

func TestReceiverThatSpeaksOnlyHTTP2(t *testing.T) {
	for name, strict := range map[string]bool{"by closing": false, "by alert": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			config.NextProtos = []string{"h2"}
			if strict {
				// Go's own server is lenient with HTTP/1.1; a protocol beside h2 ends that.
				config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					strict := config.Clone()
					if !slices.Contains(hello.SupportedProtos, "h2") {
						strict.NextProtos = []string{"none"}
					}
					return strict, nil
				}
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", config)
			require.NoError(t, err)
			protocols := new(http.Protocols)
			protocols.SetHTTP2(true)
			s := &http.Server{Handler: http.NotFoundHandler(), Protocols: protocols, TLSConfig: config.Clone(), ErrorLog: log.New(io.Discard, "", 0)}
			go s.Serve(l)
			t.Cleanup(func() { s.Close() })
			r := w.examine(w.target(l.Addr().String()), doctor.Options{})
			says(t, r, doctor.StepWithCurrent, true, "HTTP/2 only", "HTTP 404")
			says(t, r, doctor.StepWithoutCertificate, true, "certificate required")
			says(t, r, doctor.StepWithStranger, true, "unknown certificate authority")
			assert.True(t, r.Healthy)
		})
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		name  string
		found []netip.Addr
		err   error
		want  string
	}{
		{"unknown", nil, &net.DNSError{Err: "no such host", IsNotFound: true}, "knows no address of the name hooks.example.com"},
		{"silent", nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}, "No name server answered"},
		{"broken", nil, &net.DNSError{Err: "server misbehaving"}, "server misbehaving"},
		{"empty", nil, nil, "knows no address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			target := w.target("hooks.example.com")
			r := w.examine(target, doctor.Options{
				Lookup: func(context.Context, string) ([]netip.Addr, error) { return test.found, test.err },
				Dial: func(context.Context, string, string) (net.Conn, error) {
					panic("nothing may be dialled")
				},
			})
			assert.Equal(t, doctor.NameNotResolved, r.Outcome)
			says(t, r, doctor.StepName, false, test.want)
			assert.Len(t, r.Steps, 1)
		})
	}
}

// Names lead to addresses, and the first that works is used for everything.
func TestAddressesAreTriedInOrder(t *testing.T) {
	w := newWorld(t)
	target := w.serve(w.config(), nil)
	port := target.URL.Port()
	target.URL.Host = "hooks.example.com:" + port
	dialled := map[string]int{}
	r := w.examine(target, doctor.Options{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled[address]++
			if strings.HasPrefix(address, "127.0.0.9") {
				return nil, syscall.ECONNREFUSED
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	assert.True(t, r.Healthy, "%+v", r.Steps)
	says(t, r, doctor.StepName, true, "hooks.example.com is 127.0.0.9, 127.0.0.1.")
	says(t, r, doctor.StepConnection, true, "127.0.0.9:"+port+" could not be reached", "remove addresses")
	assert.Equal(t, 1, dialled["127.0.0.9:"+port])
}

func TestConnections(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		l.Close()
		r := w.examine(w.target(address), doctor.Options{})
		assert.Equal(t, doctor.ConnectionRefused, r.Outcome)
		says(t, r, doctor.StepConnection, false, "refused the TCP connection", "nothing listens")
	})
	for _, test := range []struct {
		name    string
		err     error
		outcome doctor.Outcome
		want    string
	}{
		{"no route", syscall.EHOSTUNREACH, doctor.ConnectionRefused, "no route"},
		{"anything else", io.ErrUnexpectedEOF, doctor.ConnectionLost, "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.examine(w.target("127.0.0.1:1"), doctor.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, test.err }})
			assert.Equal(t, test.outcome, r.Outcome)
			says(t, r, doctor.StepConnection, false, test.want)
		})
	}
	t.Run("timed out", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.target("127.0.0.1:1"), doctor.Options{Timeout: 20 * time.Millisecond, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		assert.Equal(t, doctor.TimedOut, r.Outcome)
		says(t, r, doctor.StepConnection, false, "did not answer within 20ms", "firewall")
	})
}

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

func TestTargetsThatCannotBeTried(t *testing.T) {
	_, err := doctor.Examine(t.Context(), doctor.Target{}, doctor.Options{})
	require.ErrorContains(t, err, "no URL")
	u, err := url.Parse("http://user@/x")
	require.NoError(t, err)
	_, err = doctor.Examine(t.Context(), doctor.Target{URL: u}, doctor.Options{})
	for _, want := range []string{`scheme "http"`, "names no host", "user name"} {
		require.ErrorContains(t, err, want)
	}
}

func TestExaminationStopsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	target := w.speak(func(conn net.Conn) {
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			cancel()
		}
		io.Copy(io.Discard, conn)
	})
	_, err := doctor.Examine(ctx, target, doctor.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestIdentityNeverShowsItsKey(t *testing.T) {
	w := newWorld(t)
	certificatePEM, keyPEM, err := w.ours.Client(us)
	require.NoError(t, err)
	block := strings.Split(string(keyPEM), "\n")[1]
	for _, i := range []doctor.Identity{doctor.ReadIdentity("default", certificatePEM, keyPEM, time.Now()), doctor.ReadIdentity("late", certificatePEM, keyPEM, time.Now().AddDate(20, 0, 0))} {
		json, err := i.MarshalJSON()
		require.NoError(t, err)
		for _, shown := range []string{fmt.Sprintf("%+v %#v %s %d %v", i, i, i, i, &i), string(json), i.LogValue().String(), fmt.Sprintf("%+v", struct{ I doctor.Identity }{i})} {
			assert.NotContains(t, shown, block)
			assert.NotContains(t, shown, "PrivateKey")
			assert.Contains(t, shown, us)
		}
	}
	assert.Equal(t, "no identity", doctor.Identity{}.String())
}
