package mtls_test

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

func TestTrustInHandshakes(t *testing.T) {
	t.Parallel()
	root, other := newTestAuthority(t, "root"), newTestAuthority(t, "other root")
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	good := serverPair(t, intermediate, "receiver.test", "192.0.2.7", "2001:db8::7", "*.wild.test")
	leaf := certificates(t, good.certificate)[0]
	altered := func(alter func(*x509.Certificate)) pair {
		return issuePair(t, root, authority.Leaf{CommonName: "receiver.test", DNSNames: []string{"receiver.test"}, Server: true, Alter: alter})
	}
	cnOnly := altered(func(c *x509.Certificate) { c.DNSNames = nil })
	clientOnly := altered(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	expired := altered(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	unrelated := append(toPEM(certificates(t, good.certificate)...), other.CertificatePEM()...)

	for name, tc := range map[string]struct {
		pair   pair
		trust  mtls.Trust
		server string // receiver.test when empty
		want   func(error) bool
		text   string
	}{
		"good":                  {pair: good, trust: trusting(t, root)},
		"wildcard":              {pair: good, trust: trusting(t, root), server: "a.wild.test"},
		"IPv4":                  {pair: good, trust: trusting(t, root), server: "192.0.2.7"},
		"IPv6":                  {pair: good, trust: trusting(t, root), server: "2001:db8::7"},
		"IPv6 in brackets":      {pair: good, trust: trusting(t, root), server: "[2001:db8::7]"},
		"leaf pinned":           {pair: good, trust: trusting(t, root, mtls.Pin(leaf))},
		"intermediate pinned":   {pair: good, trust: trusting(t, root, mtls.Pin(intermediate.Certificate()))},
		"root pinned":           {pair: good, trust: trusting(t, root, mtls.Pin(other.Certificate()), mtls.Pin(root.Certificate()))},
		"another root":          {pair: good, trust: trusting(t, other), want: wraps[x509.UnknownAuthorityError]},
		"system roots":          {pair: good, want: wraps[x509.UnknownAuthorityError]},
		"another name":          {pair: good, trust: trusting(t, root), server: "elsewhere.test", want: wraps[x509.HostnameError], text: "elsewhere.test"},
		"another address":       {pair: good, trust: trusting(t, root), server: "192.0.2.8", want: wraps[x509.HostnameError]},
		"common name only":      {pair: cnOnly, trust: trusting(t, root), want: wraps[x509.HostnameError], text: "Common Name"},
		"expired":               {pair: expired, trust: trusting(t, root), want: wraps[x509.CertificateInvalidError], text: "expired"},
		"client usage only":     {pair: clientOnly, trust: trusting(t, root), want: wraps[x509.CertificateInvalidError], text: "usage"},
		"nothing pinned":        {pair: good, trust: trusting(t, root, mtls.Pin(other.Certificate())), want: wraps[*mtls.PinError], text: mtls.Pin(leaf)},
		"pinned but irrelevant": {pair: pair{unrelated, good.key}, trust: trusting(t, root, mtls.Pin(other.Certificate())), want: wraps[*mtls.PinError]},
	} {
		check := func(t *testing.T, err error) {
			t.Helper()
			if tc.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.True(t, tc.want(err), "%T: %v", err, err)
			require.ErrorContains(t, err, tc.text)
			if _, pin := errors.AsType[*mtls.PinError](err); !pin {
				require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
			}
		}
		server := cmp.Or(tc.server, "receiver.test")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := shake(t, clientConfig(tc.trust, server), serverConfig(t, tc.pair))
			check(t, err)
		})
		t.Run(name+" with own verification", func(t *testing.T) {
			t.Parallel()
			// As if crypto/tls had verified nothing: Verify alone must find it all.
			presented := tls.ConnectionState{PeerCertificates: certificates(t, tc.pair.certificate)}
			check(t, tc.trust.Verify(presented, server, time.Now()))
		})
	}
}

func TestTrustIsAskedAgainOnResumption(t *testing.T) {
	t.Parallel()
	root, other := newTestAuthority(t, "root"), newTestAuthority(t, "other root")
	good := serverPair(t, root, "receiver.test")
	for name, tc := range map[string]struct {
		later  mtls.Trust
		server string
		when   time.Duration
		want   func(error) bool
	}{
		"the same":        {later: trusting(t, root), server: "receiver.test"},
		"pinned":          {later: trusting(t, root, mtls.Pin(root.Certificate())), server: "receiver.test"},
		"root replaced":   {later: trusting(t, other), server: "receiver.test", want: wraps[x509.UnknownAuthorityError]},
		"pin added":       {later: trusting(t, root, mtls.Pin(other.Certificate())), server: "receiver.test", want: wraps[*mtls.PinError]},
		"another name":    {later: trusting(t, root), server: "elsewhere.test", want: wraps[x509.HostnameError]},
		"expired by then": {later: trusting(t, root), server: "receiver.test", when: 1000 * time.Hour, want: wraps[x509.CertificateInvalidError]},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				t.Parallel()
				server := serverConfig(t, good)
				server.MaxVersion = version
				client := clientConfig(trusting(t, root), "receiver.test")
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				_, err := shake(t, client, server)
				require.NoError(t, err)

				resumed := false
				client.VerifyConnection = func(cs tls.ConnectionState) error {
					resumed = cs.DidResume
					return tc.later.Verify(cs, tc.server, time.Now().Add(tc.when))
				}
				_, err = shake(t, client, server)
				require.True(t, resumed, "the test is about a resumed session")
				if tc.want == nil {
					require.NoError(t, err)
					return
				}
				require.Error(t, err)
				require.True(t, tc.want(err), "%T: %v", err, err)
			})
		}
	}
}

func TestVerifyDoesNotBelieveAConfigWithOtherRoots(t *testing.T) {
	t.Parallel()
	root, other := newTestAuthority(t, "root"), newTestAuthority(t, "other root")
	config := clientConfig(trusting(t, other), "receiver.test")
	config.RootCAs = trusting(t, root).RootCAs()
	_, err := shake(t, config, serverConfig(t, serverPair(t, root, "receiver.test")))
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
}

func TestVerifyFailsClosed(t *testing.T) {
	t.Parallel()
	root := newTestAuthority(t, "root")
	trust := trusting(t, root)
	require.ErrorContains(t, trust.Verify(tls.ConnectionState{}, "receiver.test", time.Now()), "presented no certificate")
	cs, err := shake(t, clientConfig(trust, "receiver.test"), serverConfig(t, serverPair(t, root, "receiver.test")))
	require.NoError(t, err)
	require.NoError(t, trust.Verify(cs, "receiver.test", time.Now()))
	require.NotEmpty(t, cs.VerifiedChains)
	require.ErrorAs(t, trust.Verify(cs, "elsewhere.test", time.Now()), new(x509.HostnameError), "verified, but for another name")
	require.ErrorContains(t, trust.Verify(cs, "", time.Now()), "without the receiver's name")
	require.ErrorAs(t, mtls.Trust{}.Verify(cs, "receiver.test", time.Now()), new(x509.UnknownAuthorityError))
	cs.VerifiedChains = [][]*x509.Certificate{{}}
	require.NoError(t, trust.Verify(cs, "receiver.test", time.Now()), "an empty chain proves nothing, so it is verified again")
	require.ErrorAs(t, mtls.Trust{}.Verify(cs, "receiver.test", time.Now()), new(x509.UnknownAuthorityError),
		"chains that lead to a root of ours say nothing about the system's roots")
}

func TestNewTrust(t *testing.T) {
	t.Parallel()
	root := newTestAuthority(t, "root").Certificate()
	_, err := mtls.NewTrust([]*x509.Certificate{}, nil)
	require.ErrorContains(t, err, "empty")

	good := mtls.Pin(root)
	bad := map[string]string{
		"":                           "must begin with",
		strings.ToUpper(good):        "must begin with",
		"sha1/" + good[7:]:           "must begin with",
		"sha256/":                    "0 bytes",
		good[:len(good)-1]:           "base64",
		"sha256/AAAA":                "3 bytes",
		good[:20] + "\n" + good[20:]: "base64",
		// The last character of 32 bytes carries two bits that must be zero.
		"sha256/" + strings.Repeat("A", 42) + "B=": "base64",
	}
	pins := []string{good}
	for pin := range bad {
		pins = append(pins, pin)
	}
	_, err = mtls.NewTrust([]*x509.Certificate{nil, root}, pins)
	require.ErrorContains(t, err, "root 1 is missing")
	for pin, want := range bad {
		require.ErrorContains(t, err, want, pin)
	}
	assert.Equal(t, len(bad), strings.Count(err.Error(), "\npin "))
}

func TestTrustFingerprintIsItsContent(t *testing.T) {
	t.Parallel()
	a, b := newTestAuthority(t, "a").Certificate(), newTestAuthority(t, "b").Certificate()
	pinA, pinB := mtls.Pin(a), mtls.Pin(b)
	list := func(c ...*x509.Certificate) []*x509.Certificate { return c }
	assert.Equal(t, mtls.Trust{}.Fingerprint(), newTestTrust(t, nil).Fingerprint())
	assert.Equal(t, newTestTrust(t, list(a, b), pinA, pinB).Fingerprint(),
		newTestTrust(t, list(b, a, b), pinB, pinA, pinA).Fingerprint(), "order and repetition do not count")
	seen := make(map[string]bool)
	for _, trust := range []mtls.Trust{
		{},
		newTestTrust(t, nil, pinA),
		newTestTrust(t, nil, pinB),
		newTestTrust(t, list(a)),
		newTestTrust(t, list(b)),
		newTestTrust(t, list(a, b)),
		newTestTrust(t, list(a), pinA),
	} {
		seen[trust.Fingerprint()] = true
	}
	assert.Len(t, seen, 7, "different content, different fingerprint")
	assert.Nil(t, mtls.Trust{}.RootCAs(), "nil is how crypto/tls says the system's roots")

	trust := newTestTrust(t, list(a))
	trust.RootCAs().AddCert(b)
	assert.True(t, trust.RootCAs().Equal(newTestTrust(t, list(a)).RootCAs()), "nobody can add a root afterwards")
}
