package doctor_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
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
