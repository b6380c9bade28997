package doctor_test

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// list serves a revocation list of w.theirs on loopback, and gives its address and a checker that may go there.
func (w *world) list(serials ...*big.Int) (address string, checker *mtls.Revocation) {
	w.t.Helper()
	text, err := w.theirs.Marshal()
	require.NoError(w.t, err)
	key := pair(w.t, text, text, nil).PrivateKey.(crypto.Signer)
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, serial := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now().Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, w.theirs.Certificate(), key)
	require.NoError(w.t, err)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(der) }))
	w.t.Cleanup(s.Close)
	return s.URL, mtls.NewRevocation(new(net.Dialer).DialContext)
}

func TestRevocation(t *testing.T) {
	for _, test := range []struct {
		name    string
		serials []*big.Int
		policy  mtls.RevocationPolicy
		gone    bool // the list cannot be fetched
		outcome doctor.Outcome
		want    string
	}{
		{"good", nil, mtls.RevocationHard, false, doctor.Delivered, "good (crl)"},
		{"revoked", []*big.Int{big.NewInt(4711)}, mtls.RevocationSoft, false, doctor.ServerCertificateRevoked, "An issuer has withdrawn the receiver's certificate"},
		{"unknown, hard", nil, mtls.RevocationHard, true, doctor.ServerCertificateUntrusted, "demands to know (tls.trust.revocation: hard)"},
		{"unknown, soft", nil, mtls.RevocationSoft, true, doctor.Delivered, "unknown: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			address, checker := w.list(test.serials...)
			if test.gone {
				checker = mtls.NewRevocation(nil) // which does not go to loopback
			}
			target := w.serve(w.issued(w.theirs, func(l *authority.Leaf) {
				l.Alter = func(c *x509.Certificate) {
					c.SerialNumber, c.CRLDistributionPoints = big.NewInt(4711), []string{address}
				}
			}), nil)
			target.Trust = target.Trust.WithRevocation(test.policy)
			r := w.examine(target, doctor.Options{Revocation: checker})
			assert.Equal(t, test.outcome, r.Outcome)
			says(t, r, doctor.StepRevocation, test.outcome == doctor.Delivered, test.want)
			assert.Equal(t, test.outcome == doctor.Delivered, has(r, doctor.StepWithCurrent), "a revoked receiver must not see a certificate of ours")
			if test.outcome != doctor.Delivered {
				assert.Empty(t, w.requests, "a revoked receiver must not see the path")
			}
		})
	}
}

// A proxy that inspects TLS answers with a certificate of its own, and leaves signs.
func TestProxyThatShowsItsOwnCertificate(t *testing.T) {
	for _, test := range []struct {
		name, authority, via string
		want                 string
	}{
		{"by header", "Company Gateway", "1.1 gateway.example", "Via: 1.1 gateway.example"},
		{"by issuer", "Zscaler Intermediate Root CA", "", "zscaler"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			proxy, err := authority.New(test.authority)
			require.NoError(t, err)
			config := w.issued(proxy, nil)
			config.ClientAuth = tls.NoClientCert
			r := w.examine(w.serve(config, func(rw http.ResponseWriter, _ *http.Request) {
				if test.via != "" {
					rw.Header().Set("Via", test.via)
				}
			}), doctor.Options{})
			assert.Equal(t, doctor.ServerCertificateUntrusted, r.Outcome)
			says(t, r, doctor.StepPath, false, "Suspicion (inferred)", test.want, "exempted")
			assert.Zero(t, w.certificate)
			for _, request := range w.requests {
				assert.Equal(t, "OPTIONS /", request)
			}
		})
	}
}
