package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// issued is a receiver's configuration with a certificate made for the case.
func (w *world) issued(from *authority.Authority, change func(*authority.Leaf)) *tls.Config {
	w.t.Helper()
	leaf := authority.Leaf{Server: true, CommonName: "hooks.example.com", DNSNames: []string{"hooks.example.com"}, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	if change != nil {
		change(&leaf)
	}
	certificatePEM, keyPEM, err := from.Issue(leaf)
	config := w.config()
	config.Certificates = []tls.Certificate{pair(w.t, certificatePEM, keyPEM, err)}
	return config
}

// untrusted wants a receiver to be refused before it has seen anything of ours.
func (w *world) untrusted(config *tls.Config, outcome doctor.Outcome, want ...string) *doctor.Report {
	w.t.Helper()
	r := w.examine(w.serve(config, nil), doctor.Options{})
	assert.Equal(w.t, outcome, r.Outcome)
	says(w.t, r, doctor.StepServerCertificate, false, want...)
	assert.False(w.t, has(r, doctor.StepWithCurrent))
	assert.False(w.t, has(r, doctor.StepWithStranger))
	for _, request := range w.requests {
		assert.Equal(w.t, "OPTIONS /", request, "an untrusted receiver must not see the path")
	}
	assert.Zero(w.t, w.certificate, "an untrusted receiver must not see a certificate of ours")
	return r
}

func TestServerCertificateOutOfDate(t *testing.T) {
	hour := time.Hour
	for _, test := range []struct {
		name       string
		begin, end time.Duration
		want       []string
	}{
		{"expired", -48 * hour, -hour, []string{"The receiver's certificate for hooks.example.com, 127.0.0.1 has expired", "renew the certificate"}},
		{"not yet valid", hour, 48 * hour, []string{"is not yet valid: it begins on", "check this machine's clock"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			now := time.Now()
			r := w.untrusted(w.issued(w.theirs, func(l *authority.Leaf) { l.NotBefore, l.NotAfter = now.Add(test.begin), now.Add(test.end) }), doctor.ServerCertificateExpired, test.want...)
			says(t, r, doctor.StepTLS, true, "TLS 1.3")
			says(t, r, doctor.StepCertificateRequest, true, "In a second look", `"CN=Handfast Client Root"`)
		})
	}
	t.Run("one of the clocks is wrong", func(t *testing.T) {
		w := newWorld(t)
		now := time.Now()
		config := w.issued(w.theirs, func(l *authority.Leaf) { l.NotBefore, l.NotAfter = now.Add(24*hour), now.Add(72*hour) })
		config.ClientAuth = tls.RequestClientCert
		r := w.examine(w.serve(config, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Date", now.Add(48*hour).UTC().Format(http.TimeFormat))
		}), doctor.Options{})
		assert.Equal(t, doctor.ServerCertificateExpired, r.Outcome)
		says(t, r, doctor.StepServerCertificate, false, "By the receiver's clock", "one of the two clocks is wrong")
		says(t, r, doctor.StepClock, false, "ahead of ours")
		assert.Equal(t, []string{"OPTIONS /"}, w.requests)
		assert.Zero(t, w.certificate)
	})
	t.Run("ends soon", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.serve(w.issued(w.theirs, func(l *authority.Leaf) { l.NotAfter = time.Now().Add(73 * hour) }), nil), doctor.Options{})
		assert.True(t, r.Healthy)
		says(t, r, doctor.StepServerCertificate, true, "It ends in 3 days", "renew the certificate before it ends")
	})
	t.Run("intermediate", func(t *testing.T) {
		w := newWorld(t)
		past := time.Now().AddDate(-6, 0, 0)
		root, err := authority.New("Receiver Root", authority.WithClock(func() time.Time { return past }))
		require.NoError(t, err)
		old, err := root.Intermediate("Old Intermediate")
		require.NoError(t, err)
		w.theirs = root
		config := w.issued(old, func(l *authority.Leaf) {
			l.NotBefore, l.NotAfter = past, past.AddDate(0, 0, 1)
			l.Alter = func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 1, 0) }
		})
		w.untrusted(config, doctor.ServerCertificateExpired, `The intermediate certificate "CN=Old Intermediate" that the receiver sends has expired`)
	})
}

func TestServerCertificateNames(t *testing.T) {
	t.Run("another name", func(t *testing.T) {
		w := newWorld(t)
		r := w.untrusted(w.issued(w.theirs, func(l *authority.Leaf) { l.IPs, l.DNSNames = nil, []string{"other.example.com", "*.example.org"} }), doctor.ServerNameMismatch,
			`not for "127.0.0.1" but for other.example.com, *.example.org`, `with the subject alternative name "127.0.0.1"`, "set the endpoint's tls.server_name")
		says(t, r, doctor.StepCertificateRequest, true, "asked for a client certificate")
	})
	t.Run("wildcard", func(t *testing.T) {
		w := newWorld(t)
		w.untrusted(w.issued(w.theirs, func(l *authority.Leaf) { l.IPs, l.DNSNames = nil, []string{"*.example.org"} }), doctor.ServerNameMismatch, "but for *.example.org")
	})
	t.Run("a common name only", func(t *testing.T) {
		w := newWorld(t)
		w.untrusted(w.issued(w.theirs, func(l *authority.Leaf) { l.Alter = func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil } }),
			doctor.ServerNameMismatch, `its common name "hooks.example.com" does not count (RFC 9525)`)
	})
	t.Run("tls.server_name is the mistake", func(t *testing.T) {
		w := newWorld(t)
		target := w.serve(w.config(), nil)
		target.ServerName = "wrong.example.com"
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.ServerNameMismatch, r.Outcome)
		says(t, r, doctor.StepServerCertificate, false, "remove tls.server_name", "carries the URL's host 127.0.0.1")
	})
	t.Run("expired and another name", func(t *testing.T) {
		w := newWorld(t)
		now := time.Now()
		w.untrusted(w.issued(w.theirs, func(l *authority.Leaf) {
			l.IPs, l.NotBefore, l.NotAfter = nil, now.Add(-48*time.Hour), now.Add(-time.Hour)
		}), doctor.ServerCertificateExpired, "has expired", `not for "127.0.0.1"`)
	})
}

func TestServerCertificateChains(t *testing.T) {
	t.Run("unknown authority", func(t *testing.T) {
		w := newWorld(t)
		other, err := authority.New("Other Root")
		require.NoError(t, err)
		w.untrusted(w.issued(other, nil), doctor.ServerCertificateUntrusted, `the issuer "CN=Other Root" of the certificate`, "missing intermediate, or an unknown root", `This endpoint trusts "CN=Receiver Root"`, "tls.trust.roots")
	})
	t.Run("unknown authority that sends its root", func(t *testing.T) {
		w := newWorld(t)
		other, err := authority.New("Other Root")
		require.NoError(t, err)
		config := w.issued(other, nil)
		config.Certificates[0].Certificate = append(config.Certificates[0].Certificate, other.Certificate().Raw)
		w.untrusted(config, doctor.ServerCertificateUntrusted, `unknown authority "CN=Other Root", whose root the receiver sends along`)
	})
	t.Run("system roots", func(t *testing.T) {
		w := newWorld(t)
		target := w.serve(w.config(), nil)
		target.Trust, target.Roots = mtls.Trust{}, nil
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.ServerCertificateUntrusted, r.Outcome)
		says(t, r, doctor.StepServerCertificate, false, "the authorities of this machine's operating system")
	})
	t.Run("self-signed", func(t *testing.T) {
		w := newWorld(t)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "hooks.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		config := w.config()
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		w.untrusted(config, doctor.ServerCertificateUntrusted, "The certificate for 127.0.0.1 is self-signed: nobody vouches for it")
	})
	t.Run("missing intermediate", func(t *testing.T) {
		w := newWorld(t)
		between, err := w.theirs.Intermediate("Receiver Intermediate 7")
		require.NoError(t, err)
		config := w.issued(between, nil)
		require.Len(t, config.Certificates[0].Certificate, 2)
		config.Certificates[0].Certificate = config.Certificates[0].Certificate[:1]
		w.untrusted(config, doctor.ServerCertificateUntrusted, `the issuer "CN=Receiver Intermediate 7"`, "it sends only its own certificate", `send the missing intermediate certificate "CN=Receiver Intermediate 7"`)
	})
	t.Run("missing intermediate, with its place", func(t *testing.T) {
		w := newWorld(t)
		between, err := w.theirs.Intermediate("Receiver Intermediate 7")
		require.NoError(t, err)
		config := w.issued(between, func(l *authority.Leaf) {
			l.Alter = func(c *x509.Certificate) { c.IssuingCertificateURL = []string{"http://ca.example.com/7.cer"} }
		})
		config.Certificates[0].Certificate = config.Certificates[0].Certificate[:1]
		w.untrusted(config, doctor.ServerCertificateUntrusted, "This is a missing intermediate", "http://ca.example.com/7.cer", `"CN=Receiver Intermediate 7"`)
	})
	t.Run("a root of the same name with another key", func(t *testing.T) {
		w := newWorld(t)
		again, err := authority.New("Receiver Root")
		require.NoError(t, err)
		w.untrusted(w.issued(again, nil), doctor.ServerCertificateUntrusted, "A root of that name is trusted, but its key did not sign")
	})
	t.Run("for clients only", func(t *testing.T) {
		w := newWorld(t)
		w.untrusted(w.issued(w.theirs, func(l *authority.Leaf) { l.Server, l.Client = false, true }), doctor.ServerCertificateUntrusted, "extended key usage lacks server authentication")
	})
	t.Run("pin", func(t *testing.T) {
		w := newWorld(t)
		target := w.serve(w.config(), nil)
		other := newWorld(t)
		trust, err := mtls.NewTrust(target.Roots, []string{mtls.Pin(other.theirs.Certificate()), mtls.Pin(other.ours.Certificate())})
		require.NoError(t, err)
		target.Trust = trust
		r := w.examine(target, doctor.Options{})
		assert.Equal(t, doctor.ServerCertificateUntrusted, r.Outcome)
		says(t, r, doctor.StepServerCertificate, false, "none of its keys is pinned", mtls.Pin(w.theirs.Certificate()), "over another channel")
		assert.Zero(t, w.certificate)
	})
}
