package receiver

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

const (
	receiverName = "receiver.test"
	otherName    = "other.test"
	// identityURI is the exact name that a receiver lets in.
	identityURI = "spiffe://handfast.test/dispatcher"
)

// world holds who takes part: two authorities, the identities good and bad, and what a listener reads from files.
type world struct {
	dir        string
	serverCA   *authority.Authority
	clientCA   *authority.Authority
	clientKey  *caKey
	trust      mtls.Trust
	identities map[string]*mtls.Identity
	pairs      map[string]pair
	revocation *x509.RevocationList
}

// pair is an identity as it stands in files.
type pair struct{ certificate, key []byte }

// The identities of a world.
const (
	good       = "good"
	wrongCA    = "wrong CA"
	wrongUsage = "wrong usage"
	expired    = "expired"
	revoked    = "revoked"
	otherSAN   = "other SAN" // of the right authority, for somebody else
	sameWords  = "same subject, other SAN"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), identities: make(map[string]*mtls.Identity), pairs: make(map[string]pair)}
	var err error
	w.serverCA, err = authority.New("Receivers")
	require.NoError(t, err)
	w.clientCA, err = authority.New("Handfast clients")
	require.NoError(t, err)
	stranger, err := authority.New("A stranger")
	require.NoError(t, err)
	w.trust, err = mtls.NewTrust([]*x509.Certificate{w.serverCA.Certificate()}, nil)
	require.NoError(t, err)
	w.clientKey = keyOf(t, w.clientCA)

	now := time.Now()
	w.issue(t, good, w.clientCA, identityURI, now)
	w.issue(t, wrongCA, stranger, identityURI, now)
	w.issue(t, otherSAN, w.clientCA, "spiffe://handfast.test/somebody-else", now)
	w.issue(t, revoked, w.clientCA, identityURI, now)
	w.issueAs(t, sameWords, authority.Leaf{CommonName: identityURI, Client: true, URIs: []*url.URL{{Scheme: "spiffe", Host: "handfast.test", Path: "/somebody-else"}}})
	past := now.Add(-2 * time.Hour)
	certificate, key, err := w.clientCA.Issue(authority.Leaf{
		CommonName: identityURI, Client: true, NotBefore: past, NotAfter: past.Add(time.Hour),
	})
	require.NoError(t, err)
	// The clock of this side says that it is still valid, as a clock that is late would.
	w.identities[expired], err = mtls.NewIdentity(expired, certificate, key, past.Add(time.Minute))
	require.NoError(t, err)
	w.pairs[expired] = pair{certificate, key}
	w.identities[wrongUsage] = w.forServersOnly(t)

	w.write(t, now)
	return w
}

func (w *world) issue(t *testing.T, name string, ca *authority.Authority, uri string, now time.Time) {
	t.Helper()
	certificate, key, err := ca.Client(uri)
	require.NoError(t, err)
	w.identities[name], err = mtls.NewIdentity(name, certificate, key, now)
	require.NoError(t, err)
	w.pairs[name] = pair{certificate, key}
}

// issueAs issues what the authority's own ways would not.
func (w *world) issueAs(t *testing.T, name string, leaf authority.Leaf) {
	t.Helper()
	certificate, key, err := w.clientCA.Issue(leaf)
	require.NoError(t, err)
	w.identities[name], err = mtls.NewIdentity(name, certificate, key, time.Now())
	require.NoError(t, err)
	w.pairs[name] = pair{certificate, key}
}

// forServersOnly is an identity whose certificate lacks clientAuth. NewIdentity refuses to make one, rightly, so a good
// one is made, and the bytes beneath it are exchanged for those of a bad certificate with the same key and length: a
// signature's length varies, so a few are signed until one fits.
func (w *world) forServersOnly(t *testing.T) *mtls.Identity {
	t.Helper()
	certificate, key, err := w.clientCA.Client(identityURI)
	require.NoError(t, err)
	identity, err := mtls.NewIdentity(wrongUsage, certificate, key, time.Now())
	require.NoError(t, err)
	template := *identity.Leaf()
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	raw := identity.Certificate().Certificate[0]
	for range 1000 {
		der, err := x509.CreateCertificate(rand.Reader, &template, w.clientCA.Certificate(), template.PublicKey, w.clientKey)
		require.NoError(t, err)
		if len(der) != len(raw) {
			continue
		}
		copy(raw, der)
		presented, err := x509.ParseCertificate(identity.Certificate().Certificate[0])
		require.NoError(t, err)
		require.Equal(t, template.ExtKeyUsage, presented.ExtKeyUsage, "what is presented must be the bad certificate")
		w.pairs[wrongUsage] = pair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key}
		return identity
	}
	require.Fail(t, "no certificate of the same length came out")
	return nil
}

// write puts down what listeners read.
func (w *world) write(t *testing.T, now time.Time) {
	t.Helper()
	certificate, key, err := w.serverCA.Server(receiverName, "127.0.0.1")
	require.NoError(t, err)
	ca := w.clientCA.Certificate()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(24 * time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{
			SerialNumber: w.identities[revoked].Leaf().SerialNumber, RevocationTime: now.Add(-30 * time.Minute),
		}},
	}, ca, w.clientKey)
	require.NoError(t, err)
	w.revocation, err = x509.ParseRevocationList(der)
	require.NoError(t, err)
	for name, text := range map[string][]byte{
		"server.pem": certificate,
		"server.key": key,
		"both.pem":   append(bytes.Clone(certificate), key...),
		"ca.pem":     w.clientCA.CertificatePEM(),
		"crl.pem":    pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}),
	} {
		require.NoError(t, os.WriteFile(w.file(name), text, 0o600))
	}
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// target is the receiver at this address, as this identity of ours sees it.
func (w *world) target(address, identity string) mtls.Target {
	return mtls.Target{
		Authority: address, ServerName: receiverName, Identity: mtls.Static(w.identities[identity]), Trust: w.trust,
	}
}
