package doctor_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// both runs a case on TLS 1.2 and 1.3.
func both(t *testing.T, run func(w *world, config *tls.Config)) {
	t.Helper()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			config.MaxVersion = version
			run(w, config)
		})
	}
}

func TestReceiverThatDoesNotAsk(t *testing.T) {
	both(t, func(w *world, config *tls.Config) {
		t := w.t
		config.ClientAuth = tls.NoClientCert
		target := w.serve(config, nil)
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateNotRequested, r.Outcome)
		says(t, r, doctor.StepCertificateRequest, false, "does not ask for a client certificate", "ssl_verify_client on", "tls.mutual to requested")
		says(t, r, doctor.StepWithCurrent, true, "without having seen the certificate")
		assert.False(t, has(r, doctor.StepWithStranger))

		target.Mutual = mtls.Requested
		r = w.examine(target, doctor.Options{})
		assert.True(t, r.Healthy)
		says(t, r, doctor.StepCertificateRequest, true, "rest on their signatures alone")

		target.Current = doctor.Identity{}
		r = w.examine(target, doctor.Options{})
		assert.True(t, r.Healthy)
		assert.False(t, has(r, doctor.StepIdentity))
	})
}

func TestReceiverThatListsOtherAuthorities(t *testing.T) {
	both(t, func(w *world, config *tls.Config) {
		t := w.t
		other, err := authority.New("Somebody Else")
		require.NoError(t, err)
		another, err := authority.New("Yet Another")
		require.NoError(t, err)
		config.ClientCAs = pool(other, another)
		r := w.examine(w.serve(config, nil), doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
		says(t, r, doctor.StepCertificateRequest, false, `issued by "CN=Somebody Else", "CN=Yet Another"`, `is issued by "CN=Handfast Client Root", which is not on that list`, "Receiver: add the authority", "Here: or use an identity")
		says(t, r, doctor.StepWithCurrent, false, `TLS alert "unknown certificate authority"`, "does not know the authority")
	})
	t.Run("but accepts it", func(t *testing.T) {
		w := newWorld(t)
		other, err := authority.New("Somebody Else")
		require.NoError(t, err)
		config := w.config()
		config.ClientAuth, config.ClientCAs = tls.RequireAnyClientCert, pool(other)
		config.VerifyConnection = verifyWith(pool(w.ours))
		r := w.examine(w.serve(config, nil), doctor.Options{})
		assert.True(t, r.Healthy, "%+v", r.Steps)
		says(t, r, doctor.StepCertificateRequest, true, "It was accepted all the same, so the list is incomplete")
	})
}

func verifyWith(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err
	}
}

// identityOf makes a client certificate for the case, as far as the doctor lets it pass.
func (w *world) identityOf(change func(*authority.Leaf)) doctor.Identity {
	w.t.Helper()
	leaf := authority.Leaf{Client: true, CommonName: "dispatcher", DNSNames: []string{"dispatcher.example.com"}}
	change(&leaf)
	certificatePEM, keyPEM, err := w.ours.Issue(leaf)
	require.NoError(w.t, err)
	return doctor.ReadIdentity("default", certificatePEM, keyPEM, time.Now())
}

func TestIdentitiesThatNoDeliveryCanUse(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		change func(*authority.Leaf)
		want   string
		alert  string
	}{
		{"for servers only", func(l *authority.Leaf) { l.Client, l.Server = false, true }, "clientAuth", "bad certificate"},
		{"expired", func(l *authority.Leaf) { l.NotBefore, l.NotAfter = now.Add(-48*time.Hour), now.Add(-time.Hour) }, "expired", "expired certificate"},
		{"not yet valid", func(l *authority.Leaf) { l.NotBefore = now.Add(48 * time.Hour) }, "not valid", "expired certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(w *world, config *tls.Config) {
				t := w.t
				target := w.serve(config, nil)
				target.Current = w.identityOf(test.change)
				r := w.examine(target, doctor.Options{})
				assert.Equal(t, doctor.NoIdentity, r.Outcome)
				says(t, r, doctor.StepIdentity, false, "cannot be used for deliveries", test.want, "have a new certificate issued")
				says(t, r, doctor.StepWithCurrent, false, fmt.Sprintf("TLS alert %q", test.alert))
				says(t, r, doctor.StepWithoutCertificate, true)
				says(t, r, doctor.StepWithStranger, true)
			})
		})
	}
	t.Run("somebody else's key", func(t *testing.T) {
		w := newWorld(t)
		certificatePEM, _, err := w.ours.Client(us)
		require.NoError(t, err)
		_, keyPEM, err := w.ours.Client(us)
		require.NoError(t, err)
		target := w.serve(w.config(), nil)
		target.Current = doctor.ReadIdentity("default", certificatePEM, keyPEM, now)
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.NoIdentity, r.Outcome)
		says(t, r, doctor.StepIdentity, false, "cannot be used", "its own private key")
		assert.False(t, has(r, doctor.StepWithCurrent))
	})
	t.Run("none", func(t *testing.T) {
		w := newWorld(t)
		target := w.serve(w.config(), nil)
		target.Current = doctor.Identity{}
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.NoIdentity, r.Outcome)
		says(t, r, doctor.StepIdentity, false, "No client identity was given", "--identity NAME=CERT,KEY")
		says(t, r, doctor.StepWithStranger, true, "A throw-away certificate that nobody issued gets nowhere")
	})
	t.Run("ends soon", func(t *testing.T) {
		w := newWorld(t)
		target := w.serve(w.config(), nil)
		target.Current = w.identityOf(func(l *authority.Leaf) { l.NotAfter = now.Add(30 * time.Hour) })
		r := w.examine(target, doctor.Options{})
		assert.True(t, r.Healthy)
		says(t, r, doctor.StepIdentity, true, "It ends in 30h0m0s", "renew it")
	})
}

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
	for status, want := range map[int]string{495: "495 (nginx: SSL certificate error)", 496: "496 (nginx", http.StatusForbidden: "HTTP 403 Forbidden: it knows the authority"} {
		t.Run(http.StatusText(status)+want[:3], func(t *testing.T) {
			w := newWorld(t)
			r := w.examine(nginx(w, w.config(), func(bool) (int, string) { return status, "" }), doctor.Options{})
			assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
			says(t, r, doctor.StepWithCurrent, false, want)
			says(t, r, doctor.StepWithoutCertificate, true, "as it must")
		})
	}
}

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
		says(t, r, doctor.StepWithCurrent, false, "shook hands but did not answer the OPTIONS request within 200ms")
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

func TestHostThatDiffersFromTheName(t *testing.T) {
	strict := func(w *world, served ...string) doctor.Target {
		target := w.serve(w.config(), func(rw http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.Host)
			if !slices.Contains(served, host) {
				rw.WriteHeader(http.StatusMisdirectedRequest)
			}
		})
		target.ServerName = "hooks.example.com"
		return target
	}
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(strict(w, "hooks.example.com"), doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
		says(t, r, doctor.StepWithCurrent, false, "HTTP 421 Misdirected Request", "strict_sni_host")
		says(t, r, doctor.StepHost, false, `TLS asks for "hooks.example.com" (SNI), HTTP for "127.0.0.1:`, `Asked for "hooks.example.com" by both, it answered HTTP 200`, `use "hooks.example.com" in the URL`)
	})
	t.Run("served", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(strict(w, "127.0.0.1"), doctor.Options{})
		assert.True(t, r.Healthy)
		says(t, r, doctor.StepHost, true, "serves this pair")
	})
	t.Run("refused whatever is asked for", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(strict(w), doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
		says(t, r, doctor.StepHost, false, "answered HTTP 421 to this pair")
		assert.NotContains(t, step(t, r, doctor.StepHost).Said, "by both")
	})
}

func TestClocks(t *testing.T) {
	for _, test := range []struct {
		skew    time.Duration
		outcome doctor.Outcome
		want    string
	}{
		{-10 * time.Minute, doctor.Rejected, "behind ours"},
		{10 * time.Minute, doctor.Rejected, "ahead of ours"},
		{2 * time.Minute, doctor.Delivered, "within what signatures allow"},
	} {
		w := newWorld(t)
		r := w.examine(w.serve(w.config(), func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Date", time.Now().Add(test.skew).UTC().Format(http.TimeFormat))
		}), doctor.Options{})
		assert.Equal(t, test.outcome, r.Outcome)
		says(t, r, doctor.StepClock, test.outcome == doctor.Delivered, test.want, "NTP")
	}
	w := newWorld(t)
	r := w.examine(w.serve(w.config(), func(rw http.ResponseWriter, _ *http.Request) { rw.Header()["Date"] = nil }), doctor.Options{})
	assert.True(t, r.Healthy)
	assert.False(t, has(r, doctor.StepClock))
}

func TestProxiesInThePath(t *testing.T) {
	t.Run("in front of a receiver that never asks", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.ClientAuth = tls.NoClientCert
		r := w.examine(w.serve(config, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Via", "1.1 cdn.example")
			rw.Header().Set("Cf-Ray", "8f3")
		}), doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateNotRequested, r.Outcome)
		says(t, r, doctor.StepPath, false, "Suspicion (inferred): a proxy or CDN", "Via: 1.1 cdn.example, Cf-Ray: 8f3", "pass TLS through")
	})
	t.Run("one that does its work", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.serve(w.config(), func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Via", "1.1 lb.example") }), doctor.Options{})
		assert.True(t, r.Healthy)
		assert.False(t, has(r, doctor.StepPath))
	})
	t.Run("certificates that change between handshakes", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		certificates := []tls.Certificate{w.config().Certificates[0], w.config().Certificates[0]}
		next := 0
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			next++
			this := config.Clone()
			this.Certificates = certificates[next%2 : next%2+1]
			return this, nil
		}
		r := w.examine(w.serve(config, nil), doctor.Options{})
		assert.True(t, r.Healthy, "a suspicion alone is no fault")
		says(t, r, doctor.StepPath, true, "Suspicion (inferred): the certificate differs between two handshakes", "every machine")
	})
}
