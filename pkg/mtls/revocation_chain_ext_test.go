package mtls_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// crossSigned is one intermediate with two certificates, each under a root of its own.
func crossSigned(tb testing.TB, host *crlHost) (one, two, middle *issuer, second *x509.Certificate) {
	tb.Helper()
	one, two = newIssuer(tb, "root one", nil), newIssuer(tb, "root two", nil)
	middle = newIssuer(tb, "middle", one, host.url+"/one.crl")
	template := *middle.certificate
	template.SerialNumber, template.CRLDistributionPoints = testSerial(tb), []string{host.url + "/two.crl"}
	raw, err := x509.CreateCertificate(rand.Reader, &template, two.certificate, middle.key.Public(), two.key)
	require.NoError(tb, err)
	return one, two, middle, mustParse(tb, raw)
}

// TestOneGoodChainIsEnough: an intermediate that is revoked on one path does not close the other, unless that one has no
// pinned key.
func TestOneGoodChainIsEnough(t *testing.T) {
	host := newCRLHost(t)
	one, two, middle, second := crossSigned(t, host)
	host.list("/one.crl", one.crl(nil, middle.certificate))
	host.list("/two.crl", two.crl(nil))
	certificate := middle.server(nil, host.list("/leaf.crl", middle.crl(nil)))
	certificate.Certificate = append(certificate.Certificate, second.Raw)
	roots := []*x509.Certificate{one.certificate, two.certificate}
	server := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	for name, tc := range map[string]struct {
		trust  mtls.Trust
		chains int
		want   mtls.RevocationStatus
	}{
		"both":          {newTestTrust(t, roots), 2, mtls.RevocationGood},
		"the good one":  {newTestTrust(t, roots, mtls.Pin(two.certificate)), 1, mtls.RevocationGood},
		"the other one": {newTestTrust(t, roots, mtls.Pin(one.certificate)), 1, mtls.Revoked},
	} {
		cs, err := shake(t, clientConfig(tc.trust, receiverName), server)
		require.NoError(t, err, name)
		chains, err := tc.trust.Chains(cs, receiverName, time.Now())
		require.NoError(t, err, name)
		assert.Len(t, chains, tc.chains, name)
		finding, err := mtls.NewRevocation((&net.Dialer{}).DialContext).Check(soon(t), chains, nil, mtls.RevocationHard)
		assert.Equal(t, tc.want, finding.Status, "%s: %s", name, finding)
		assert.Equal(t, tc.want != mtls.RevocationGood, err != nil, name)
	}
}

// TestTooManyCertificates: a receiver cannot make us fetch without end.
func TestTooManyCertificates(t *testing.T) {
	host := newCRLHost(t)
	root := newIssuer(t, "root", nil)
	var chains [][]*x509.Certificate
	for n := range 40 {
		chains = append(chains, []*x509.Certificate{root.server(nil, fmt.Sprintf("%s/%d", host.url, n)).Leaf, root.certificate})
	}
	finding, err := mtls.NewRevocation((&net.Dialer{}).DialContext).Check(soon(t), chains, nil, mtls.RevocationHard)
	require.Error(t, err)
	assert.Equal(t, mtls.RevocationUnknown, finding.Status)
	assert.LessOrEqual(t, len(host.requests()), 16)

	many := make([]string, 20)
	for n := range many {
		many[n] = fmt.Sprintf("%s/many/%d", host.url, n)
	}
	before := len(host.requests())
	_, err = mtls.NewRevocation((&net.Dialer{}).DialContext).Check(soon(t), [][]*x509.Certificate{{root.server(nil, many...).Leaf, root.certificate}}, nil, mtls.RevocationHard)
	require.Error(t, err)
	assert.Len(t, host.requests(), before+4)
}

func TestChecksOfNothing(t *testing.T) {
	root := newIssuer(t, "root", nil)
	checker := mtls.NewRevocation(nil)
	for _, chains := range [][][]*x509.Certificate{nil, {}, {{}}} {
		finding, err := checker.Check(t.Context(), chains, nil, mtls.RevocationHard)
		require.ErrorContains(t, err, "no verified chain")
		assert.Equal(t, mtls.RevocationUnknown, finding.Status)
		finding, err = checker.Check(t.Context(), chains, nil, mtls.RevocationIgnore)
		require.NoError(t, err)
		assert.Empty(t, finding.String())
	}
	finding, err := checker.Check(t.Context(), [][]*x509.Certificate{{root.certificate}}, nil, mtls.RevocationHard)
	require.NoError(t, err)
	assert.Equal(t, "good (it is a trusted root itself)", finding.String())
	long := root.server(nil, "http://"+strings.Repeat("h", 2000)).Leaf
	_, err = checker.Check(t.Context(), [][]*x509.Certificate{{long, root.certificate}}, nil, mtls.RevocationHard)
	require.ErrorContains(t, err, "not an address that can be fetched")
	assert.Less(t, len(err.Error()), 500)
}

func TestTrustKnowsItsPolicy(t *testing.T) {
	root := newIssuer(t, "root", nil)
	seen := make(map[string]mtls.RevocationPolicy)
	for policy := mtls.RevocationIgnore; policy <= mtls.RevocationHard; policy++ {
		for _, trust := range []mtls.Trust{{}, newTestTrust(t, []*x509.Certificate{root.certificate})} {
			checked := trust.WithRevocation(policy)
			assert.Equal(t, policy, checked.Revocation())
			assert.Equal(t, mtls.RevocationIgnore, trust.Revocation(), "the first one stays as it is")
			if policy == mtls.RevocationIgnore {
				assert.Equal(t, trust.Fingerprint(), checked.Fingerprint())
			}
			assert.NotContains(t, seen, checked.Fingerprint())
			seen[checked.Fingerprint()] = policy
		}
	}
	assert.Equal(t, "RevocationPolicy(7)", mtls.RevocationPolicy(7).String())
	assert.Equal(t, "RevocationStatus(9): x", mtls.Finding{Status: 9, Detail: "x"}.String())
}

// TestMinVersion: a receiver that speaks TLS 1.2 only gets nothing from a target that demands 1.3, also when there is a
// connection of 1.2 for another one.
func TestMinVersion(t *testing.T) {
	for _, proto := range []string{"h2", "http/1.1"} {
		t.Run(proto, func(t *testing.T) {
			p := newPeers(t, true)
			pool := p.pool()
			old := p.website(p.serverTLS(func(c *tls.Config) { c.MaxVersion, c.NextProtos = tls.VersionTLS12, []string{proto} }), readAll, proto == "h2")
			target := p.target(old.address)
			response, err := pool.Do(soon(t), target, post(10))
			require.NoError(t, err)
			assert.Equal(t, "TLS 1.2", response.Proof.Version)
			for _, version := range []mtls.MinVersion{mtls.TLS13, mtls.TLS13 + 1} {
				target.MinVersion = version
				_, err = pool.Do(soon(t), target, post(64<<10))
				f := failureOf(t, err)
				assert.Equal(t, mtls.HandshakeFailed, f.Kind)
				assert.Contains(t, f.Detail, "protocol version not supported")
				assert.Contains(t, f.Advice, "tls.min_version")
				assert.False(t, f.BodySent)
			}
			target.Authority = p.website(p.serverTLS(), readAll, true).address
			response, err = pool.Do(soon(t), target, post(10))
			require.NoError(t, err)
			assert.Equal(t, "TLS 1.3", response.Proof.Version)
		})
	}
}

// TestMinVersionIgnored has a receiver that answers a hello of TLS 1.3 with 1.2 all the same.
func TestMinVersionIgnored(t *testing.T) {
	p := newPeers(t, false)
	l, address := p.listen()
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 4096))
		hello := append([]byte{2, 0, 0, 38, 3, 3}, make([]byte, 32)...)
		hello = append(hello, 0, 0xc0, 0x2f, 0)
		_, _ = c.Write(append([]byte{22, 3, 3, 0, byte(len(hello))}, hello...))
		_, _ = c.Read(make([]byte, 4096))
		_ = c.Close()
	}()
	target := p.target(address)
	target.MinVersion = mtls.TLS13
	_, err := p.pool().Do(soon(t), target, post(10))
	f := failureOf(t, err)
	assert.Equal(t, mtls.HandshakeFailed, f.Kind)
	assert.Contains(t, f.Detail, "unsupported protocol version")
	assert.Contains(t, f.Advice, "tls.min_version")
	<-served
}
