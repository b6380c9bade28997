package authority_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

func newAuthority(t *testing.T, options ...authority.Option) *authority.Authority {
	t.Helper()
	a, err := authority.New("root", options...)
	require.NoError(t, err)
	return a
}

func parseChain(t *testing.T, text []byte) (chain []*x509.Certificate) {
	t.Helper()
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			require.Empty(t, text)
			return chain
		}
		c, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		chain = append(chain, c)
	}
}

// verify checks a chain as the other side would, trusting the root only.
func verify(root *authority.Authority, chain []*x509.Certificate, name string, at time.Time, usage x509.ExtKeyUsage) error {
	options := x509.VerifyOptions{
		DNSName: name, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage},
	}
	options.Roots.AddCert(root.Certificate())
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	return err
}

func TestCAProfiles(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		certificate *x509.Certificate
		pathLength  int
		issuer      string
	}{
		"root":         {root.Certificate(), 1, "CN=root"},
		"intermediate": {intermediate.Certificate(), 0, "CN=root"},
	} {
		c := tc.certificate
		assert.Equal(t, "CN="+name, c.Subject.String())
		assert.Equal(t, tc.issuer, c.Issuer.String())
		assert.True(t, c.IsCA && c.BasicConstraintsValid)
		assert.Equal(t, tc.pathLength, c.MaxPathLen)
		assert.Equal(t, tc.pathLength == 0, c.MaxPathLenZero)
		assert.Equal(t, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, c.KeyUsage)
		assert.NotEmpty(t, c.SubjectKeyId)
		assert.Equal(t, elliptic.P256(), c.PublicKey.(*ecdsa.PublicKey).Curve)
	}
	_, err = intermediate.Intermediate("too deep")
	require.ErrorContains(t, err, "path length is 0")
	_, err = authority.New("")
	require.ErrorContains(t, err, "common name")
	_, err = root.Intermediate("")
	require.ErrorContains(t, err, "common name")
}

func TestServerAndClient(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	for name, issuer := range map[string]*authority.Authority{"root": root, "intermediate": intermediate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			certificatePEM, keyPEM, err := issuer.Server("receiver.test", "192.0.2.7", "2001:db8::7", "*.wild.test")
			require.NoError(t, err)
			_, err = tls.X509KeyPair(certificatePEM, keyPEM)
			require.NoError(t, err, "the key belongs to the certificate")
			chain := parseChain(t, certificatePEM)
			for _, host := range []string{"receiver.test", "192.0.2.7", "2001:db8::7", "a.wild.test"} {
				require.NoError(t, verify(root, chain, host, time.Now(), x509.ExtKeyUsageServerAuth), host)
			}
			require.Error(t, verify(root, chain, "receiver.test", time.Now(), x509.ExtKeyUsageClientAuth))
			require.Error(t, verify(root, chain, "other.test", time.Now(), x509.ExtKeyUsageServerAuth))
			assert.False(t, chain[0].IsCA)
			assert.Equal(t, x509.KeyUsageDigitalSignature, chain[0].KeyUsage)
			assert.Equal(t, "receiver.test", chain[0].Subject.CommonName)

			certificatePEM, _, err = issuer.Client("spiffe://example.org/dispatcher")
			require.NoError(t, err)
			chain = parseChain(t, certificatePEM)
			require.NoError(t, verify(root, chain, "", time.Now(), x509.ExtKeyUsageClientAuth))
			require.Error(t, verify(root, chain, "", time.Now(), x509.ExtKeyUsageServerAuth))
			require.Len(t, chain[0].URIs, 1)
			assert.Equal(t, "spiffe://example.org/dispatcher", chain[0].URIs[0].String())
			assert.Equal(t, "spiffe://example.org/dispatcher", chain[0].Subject.CommonName)

			long := "spiffe://example.org/" + strings.Repeat("x", 64)
			certificatePEM, _, err = issuer.Client(long)
			require.NoError(t, err)
			assert.Empty(t, parseChain(t, certificatePEM)[0].Subject.CommonName, "a common name has at most 64 characters")
		})
	}
}

func TestSerialNumbers(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	seen := make(map[string]bool)
	for range 50 {
		certificatePEM, _, err := root.Server("receiver.test")
		require.NoError(t, err)
		serial := parseChain(t, certificatePEM)[0].SerialNumber
		assert.Equal(t, 127, serial.BitLen(), "always 16 bytes, positive")
		seen[serial.String()] = true
	}
	assert.Len(t, seen, 50)
}

func TestIssueTellsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	now := time.Now()
	for name, tc := range map[string]struct {
		leaf authority.Leaf
		want []string
	}{
		"nothing":     {authority.Leaf{}, []string{"Client, Server or both"}},
		"bare server": {authority.Leaf{Server: true, CommonName: "x"}, []string{"a server needs"}},
		"bare client": {authority.Leaf{Client: true}, []string{"a client needs"}},
		"backwards":   {authority.Leaf{Client: true, CommonName: "x", NotBefore: now, NotAfter: now}, []string{"would end"}},
		"too long":    {authority.Leaf{Client: true, CommonName: "x", NotAfter: now.AddDate(20, 0, 0)}, []string{"outlive"}},
		"everything": {
			authority.Leaf{
				CommonName: strings.Repeat("ü", 65), DNSNames: []string{"", "-a.test", "ü.test", "a..b", "a.*.test"},
				IPs: []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0")}, URIs: []*url.URL{nil, {Path: "/x"}},
				NotBefore: now.AddDate(30, 0, 0), NotAfter: now.AddDate(20, 0, 0),
			},
			[]string{
				"Client, Server or both", "64 characters", `"" is not a DNS name`, `"-a.test"`, `"ü.test"`, `"a..b"`, `"a.*.test"`,
				`"invalid IP"`, `"fe80::1%eth0"`, "absolute URI", "/x", "would end", "outlive",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := root.Issue(tc.leaf)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	_, _, err := root.Client("://")
	require.Error(t, err)
	_, _, err = root.Server()
	require.Error(t, err)
}

func TestIssueDetails(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	exactly := strings.Repeat("ü", 64)
	certificatePEM, _, err := root.Issue(authority.Leaf{
		CommonName: exactly, Organization: "Example", Client: true, Server: true, DNSNames: []string{"both.test"},
		IPs:   []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.1")},
		Alter: func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example.org"} },
	})
	require.NoError(t, err)
	c := parseChain(t, certificatePEM)[0]
	assert.Equal(t, exactly, c.Subject.CommonName)
	assert.Equal(t, []string{"Example"}, c.Subject.Organization)
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, c.ExtKeyUsage)
	require.NoError(t, c.VerifyHostname("192.0.2.1"), "a mapped address is its IPv4 address")
	assert.Equal(t, []string{"a@example.org"}, c.EmailAddresses)
}

// In a bubble the clock starts in the year 2000, long before this test was
// written: nothing may come from the real clock.
func TestTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		root := newAuthority(t)
		now := time.Now()
		require.Equal(t, 2000, now.UTC().Year())
		certificatePEM, _, err := root.Server("receiver.test")
		require.NoError(t, err)
		chain := parseChain(t, certificatePEM)
		assert.Equal(t, now.Add(-time.Minute), chain[0].NotBefore.Local())
		assert.Equal(t, now.Add(30*24*time.Hour), chain[0].NotAfter.Local())
		require.NoError(t, verify(root, chain, "receiver.test", now, x509.ExtKeyUsageServerAuth))

		<-time.After(31 * 24 * time.Hour)
		require.Error(t, verify(root, chain, "receiver.test", time.Now(), x509.ExtKeyUsageServerAuth))
	})

	year := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := year
	root := newAuthority(t, authority.WithClock(func() time.Time { return clock }), authority.WithLeafLifetime(time.Hour))
	clock = root.Certificate().NotAfter.Add(-30 * time.Minute)
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	assert.Equal(t, root.Certificate().NotAfter, intermediate.Certificate().NotAfter, "nothing outlives its issuer")
	certificatePEM, _, err := intermediate.Server("receiver.test")
	require.NoError(t, err)
	assert.Equal(t, root.Certificate().NotAfter, parseChain(t, certificatePEM)[0].NotAfter)
}
