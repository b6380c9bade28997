package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/handfast/handfast/pkg/mtls"
)

// stapleCase is one stapled response of a certificate that names no list.
type stapleCase struct {
	name   string
	must   bool // the certificate demands a staple
	staple []byte
	leaf   tls.Certificate
	status mtls.RevocationStatus
	words  string
}

func stapleCases(tb testing.TB, root *issuer) []stapleCase {
	tb.Helper()
	other := newIssuer(tb, "root", nil)
	plain, must := root.server(nil), root.server(mustStaple)
	leaf := plain.Leaf
	stale := func(r *ocsp.Response) {
		r.ThisUpdate, r.NextUpdate = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	}
	revoked := func(r *ocsp.Response) {
		r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, time.Now().Add(-time.Hour), ocsp.Superseded
	}
	held := func(r *ocsp.Response) { revoked(r); r.RevocationReason = ocsp.CertificateHold }
	both := func(alter ...func(*ocsp.Response)) func(*ocsp.Response) {
		return func(r *ocsp.Response) {
			for _, a := range alter {
				a(r)
			}
		}
	}
	past := root.responder(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	noResponder := root.responder(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	const good, unknown, missing = mtls.RevocationGood, mtls.RevocationUnknown, mtls.StapleMissing
	cases := []stapleCase{
		{name: "good", staple: root.staple(root, leaf, nil), status: good},
		{name: "by a responder", staple: root.staple(root.responder(nil), leaf, nil), status: good},
		{name: "revoked", staple: root.staple(root, leaf, revoked), status: mtls.Revoked, words: "it was superseded"},
		{name: "stale and revoked", staple: root.staple(root, leaf, both(revoked, stale)), status: mtls.Revoked, words: "it was superseded"},
		{name: "on hold", staple: root.staple(root, leaf, held), status: mtls.Revoked, words: "it is on hold"},
		{name: "once on hold", staple: root.staple(root, leaf, both(held, stale)), status: unknown, words: "counted until"},
		{name: "stale", staple: root.staple(root, leaf, stale), status: unknown, words: "counted until"},
		{name: "from the future", staple: root.staple(root, leaf, func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(time.Hour) }), status: unknown, words: "counts only from"},
		{name: "without an end", staple: root.staple(root, leaf, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), status: unknown, words: "until when it counts"},
		{name: "issuer knows nothing", staple: root.staple(root, leaf, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), status: unknown, words: "does not know the certificate"},
		{name: "another issuer's", staple: other.staple(other, leaf, nil), status: unknown, words: "bad OCSP signature"},
		{name: "another certificate's", staple: root.staple(root, must.Leaf, nil), status: unknown, words: "no response matching"},
		{name: "by a server", staple: root.staple(noResponder, leaf, nil), status: unknown, words: "may not sign such responses"},
		{name: "revoked, says a server", staple: root.staple(noResponder, leaf, revoked), status: unknown, words: "may not sign such responses"},
		{name: "by an expired responder", staple: root.staple(past, leaf, nil), status: unknown, words: "outside its validity"},
		{name: "garbage", staple: []byte("x"), status: unknown, words: "cannot be used"},
		{name: "huge", staple: make([]byte, 16<<10+1), status: unknown, words: "larger than 16 KiB"},
		{name: "try later", staple: ocsp.TryLaterErrorResponse, status: unknown, words: "try later"},
		{name: "none", status: unknown, words: "names no CRL"},
		{name: "demanded and good", must: true, staple: root.staple(root, must.Leaf, nil), status: good},
		{name: "demanded and revoked", must: true, staple: root.staple(root, must.Leaf, revoked), status: mtls.Revoked, words: "it was superseded"},
		{name: "demanded and none", must: true, status: missing, words: "stapled no OCSP response"},
		{name: "demanded and stale", must: true, staple: root.staple(root, must.Leaf, stale), status: missing, words: "must-staple"},
		{name: "demanded and garbage", must: true, staple: []byte("x"), status: missing, words: "must-staple"},
	}
	for i := range cases {
		cases[i].leaf = plain
		if cases[i].must {
			cases[i].leaf = must
		}
		cases[i].leaf.OCSPStaple = cases[i].staple
	}
	return cases
}

func TestRevocationByStaple(t *testing.T) {
	root := newIssuer(t, "root", nil)
	p := newPeers(t, false)
	pool := p.pool()
	for _, tc := range stapleCases(t, root) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tc.name+", "+tls.VersionName(version), func(t *testing.T) {
				config := p.serverTLS(func(c *tls.Config) {
					c.Certificates, c.MaxVersion = []tls.Certificate{tc.leaf}, version
				})
				for _, policy := range []mtls.RevocationPolicy{mtls.RevocationIgnore, mtls.RevocationSoft, mtls.RevocationHard} {
					target := p.target("")
					target.Trust = newTestTrust(t, []*x509.Certificate{root.certificate}).WithRevocation(policy)
					if policy == mtls.RevocationIgnore || tc.status == mtls.RevocationGood || policy == mtls.RevocationSoft && tc.status == mtls.RevocationUnknown {
						target.Authority = p.website(config, readAll, true).address
						response, err := pool.Do(soon(t), target, post(100))
						require.NoError(t, err, "policy %s", policy)
						if policy != mtls.RevocationIgnore && tc.status == mtls.RevocationGood {
							assert.Equal(t, "good (staple)", response.Proof.Revocation)
						}
						continue
					}
					f := p.refused(t, pool, target, p.script(config, (*line).drain))
					assert.Contains(t, f.Detail, tc.words)
					kind := mtls.ServerCertificateUntrusted
					if tc.status == mtls.Revoked {
						kind = mtls.ServerCertificateRevoked
					}
					assert.Equal(t, kind, f.Kind, "policy %s: %v", policy, f)
				}
			})
		}
	}
}

// TestUnreadableDemandForAStaple: a demand that cannot be read is one.
func TestUnreadableDemandForAStaple(t *testing.T) {
	root := newIssuer(t, "root", nil)
	demands := func(value []byte) *x509.Certificate {
		return root.server(func(c *x509.Certificate) {
			mustStaple(c)
			c.ExtraExtensions[0] = pkix.Extension{Id: c.ExtraExtensions[0].Id, Value: value}
		}).Leaf
	}
	for name, tc := range map[string]struct {
		value []byte
		want  mtls.RevocationStatus
	}{
		"garbage":          {[]byte{1}, mtls.StapleMissing},
		"trailing":         {[]byte{0x30, 0, 0}, mtls.StapleMissing},
		"another feature":  {[]byte{0x30, 3, 2, 1, 17}, mtls.RevocationUnknown},
		"several features": {[]byte{0x30, 6, 2, 1, 17, 2, 1, 5}, mtls.StapleMissing},
	} {
		finding, _ := mtls.NewRevocation(nil).Check(t.Context(), [][]*x509.Certificate{{demands(tc.value), root.certificate}}, nil, mtls.RevocationSoft)
		assert.Equal(t, tc.want, finding.Status, name)
	}
}

// TestRevocationOnResumption: a session keeps the staple and the chain of its first handshake, so that the same answer
// is found, and ages.
func TestRevocationOnResumption(t *testing.T) {
	root := newIssuer(t, "root", nil)
	for name, tc := range map[string]struct {
		status int
		want   mtls.RevocationStatus
	}{"good": {ocsp.Good, mtls.RevocationGood}, "revoked": {ocsp.Revoked, mtls.Revoked}} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				certificate := root.server(nil)
				certificate.OCSPStaple = root.staple(root, certificate.Leaf, func(r *ocsp.Response) { r.Status = tc.status })
				trust := newTestTrust(t, []*x509.Certificate{root.certificate})
				client := clientConfig(trust, receiverName)
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				server := &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: version}
				for _, resumed := range []bool{false, true} {
					cs, err := shake(t, client, server)
					require.NoError(t, err)
					require.Equal(t, resumed, cs.DidResume)
					chains, err := trust.Chains(cs, receiverName, time.Now())
					require.NoError(t, err)
					finding, err := mtls.NewRevocation(nil).Check(t.Context(), chains, cs.OCSPResponse, mtls.RevocationHard)
					assert.Equal(t, tc.want, finding.Status)
					assert.Equal(t, tc.want != mtls.RevocationGood, err != nil)
				}
			})
		}
	}
}
