package identity_test

import (
	"crypto/x509"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

func TestRequestAndInstall(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	pending, err := identity.Request("acme", identity.Profile{URIs: []string{name}, DNSNames: []string{"hooks.example.org"}, Organization: "Example"}, vault, now)
	require.NoError(t, err)
	assert.Equal(t, identity.Pending, pending.State)
	request, err := authority.ParseRequest([]byte(pending.RequestPEM()))
	require.NoError(t, err)
	assert.Equal(t, name, request.URIs[0].String())
	assert.Equal(t, []string{"hooks.example.org"}, request.DNSNames)
	assert.Equal(t, []string{"Example"}, request.Subject.Organization)
	assert.True(t, asksForClientAuth(request), "the request names the usage")
	_, err = pending.Open(vault, now)
	require.ErrorIs(t, err, mtls.ErrNoIdentity)
	require.ErrorContains(t, err, "waits for its certificate")

	root, issuing := receiversCA(t, now)
	r, err := pending.Install(answer(t, issuing, pending.RequestPEM(), nil), vault, now)
	require.NoError(t, err)
	assert.Equal(t, identity.Active, r.State)
	assert.Empty(t, r.RequestPEM())
	i, err := r.Open(vault, now)
	require.NoError(t, err)
	_, err = shake(t, mtls.Static(i), root.CertificatePEM(), now)
	require.NoError(t, err)
}

func asksForClientAuth(request *x509.CertificateRequest) bool {
	for _, e := range request.Extensions {
		if e.Id.String() == "2.5.29.37" {
			return string(e.Value) == "\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02"
		}
	}
	return false
}

func TestInstallTellsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	pending, err := identity.Request("acme", identity.Profile{URIs: []string{name}, DNSNames: []string{"hooks.example.org"}}, vault, now)
	require.NoError(t, err)
	foreign, err := identity.Request("acme", profile(), vault, now)
	require.NoError(t, err)
	root, issuing := receiversCA(t, now)
	otherURI, err := url.Parse("spiffe://example.org/other")
	require.NoError(t, err)
	server := func(l *authority.Leaf) { l.Client, l.Server = false, true }
	late := func(l *authority.Leaf) { l.NotBefore, l.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour) }
	early := func(l *authority.Leaf) { l.NotBefore, l.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }
	for title, tc := range map[string]struct {
		text []byte
		want []string
	}{
		"another key":   {answer(t, issuing, foreign.RequestPEM(), nil), []string{"does not belong", `lacks the DNS name "hooks.example.org"`}},
		"server only":   {answer(t, issuing, pending.RequestPEM(), server), []string{"lacks clientAuth"}},
		"not yet valid": {answer(t, issuing, pending.RequestPEM(), late), []string{"not valid before"}},
		"expired":       {answer(t, issuing, pending.RequestPEM(), early), []string{"expired on"}},
		"another name": {answer(t, issuing, pending.RequestPEM(), func(l *authority.Leaf) { l.URIs, l.DNSNames = []*url.URL{otherURI}, nil }), []string{
			`lacks the URI "spiffe://example.org/handfast" that was asked for (it has ["spiffe://example.org/other"])`, `lacks the DNS name`,
		}},
		"stray root": {append(answer(t, issuing, pending.RequestPEM(), nil), newStranger(t, now)...), []string{"did not sign it"}},
		"nothing":    {nil, []string{"the certificate PEM is empty"}},
		"the root":   {root.CertificatePEM(), []string{"does not belong", "is a CA"}},
		"request":    {[]byte(pending.RequestPEM()), []string{"signing request, not a certificate"}},
		"everything": {append(answer(t, issuing, foreign.RequestPEM(), func(l *authority.Leaf) { server(l); early(l); l.DNSNames = []string{"x.test"} }), newStranger(t, now)...), []string{
			"does not belong", "lacks clientAuth", "expired on", "did not sign it", "lacks the DNS name",
		}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			r, err := pending.Install(tc.text, vault, now)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
			assert.Empty(t, r.Name)
		})
	}
	_, err = identity.Request("No", identity.Profile{}, vault, now)
	require.ErrorContains(t, err, "is not a name")
	require.ErrorContains(t, err, "no alternative name")
}

func newStranger(t *testing.T, now time.Time) []byte {
	t.Helper()
	stranger, _ := receiversCA(t, now)
	return stranger.CertificatePEM()
}

func TestSuccessorByRequest(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	_, issuing := receiversCA(t, now)
	first, err := identity.Request("acme", profile(), vault, now)
	require.NoError(t, err)
	oldRequest := first.RequestPEM()
	first, err = first.Install(answer(t, issuing, oldRequest, nil), vault, now)
	require.NoError(t, err)

	both, err := first.RequestSuccessor(vault, now.Add(day))
	require.NoError(t, err)
	assert.NotEqual(t, oldRequest, both.RequestPEM(), "a new key")
	i, err := both.Open(vault, now)
	require.NoError(t, err)
	assert.Equal(t, first.Fingerprint(), i.Fingerprint(), "the old certificate stays in use meanwhile")
	_, err = both.RequestSuccessor(vault, now)
	require.ErrorContains(t, err, "withdraw the request first")

	second, err := both.Install(answer(t, issuing, both.RequestPEM(), nil), vault, now.Add(2*day))
	require.NoError(t, err)
	assert.NotEqual(t, first.Fingerprint(), second.Fingerprint())
	assert.Empty(t, second.RequestPEM())
	_, err = second.Open(vault, now.Add(2*day))
	require.NoError(t, err)

	// A CA may as well certify the old key again; the request goes on waiting.
	again, err := both.Install(answer(t, issuing, oldRequest, nil), vault, now)
	require.NoError(t, err)
	assert.Equal(t, both.RequestPEM(), again.RequestPEM())
	i, err = again.Open(vault, now)
	require.NoError(t, err)
	assert.Equal(t, first.Leaf().PublicKey, i.Leaf().PublicKey)

	withdrawn, err := both.Withdraw()
	require.NoError(t, err)
	assert.Equal(t, string(encoded(t, first)), string(encoded(t, withdrawn)))
	_, err = withdrawn.Install(answer(t, issuing, both.RequestPEM(), nil), vault, now)
	require.ErrorContains(t, err, "does not belong")
	_, err = first.Withdraw()
	require.ErrorContains(t, err, "no request waits")
}

func TestWhoMayRequestAndInstall(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ours := created(t, "default", newAuthority(t, "main", vault, now), vault, now)
	_, err := ours.RequestSuccessor(vault, now)
	require.ErrorContains(t, err, "renews it without being asked")
	_, err = ours.Install([]byte("x"), vault, now)
	require.ErrorContains(t, err, "issues its certificates")
	gone, err := ours.Retire(now)
	require.NoError(t, err)
	_, err = gone.Install(nil, vault, now)
	require.ErrorContains(t, err, "was retired")
	pending, err := identity.Request("acme", profile(), vault, now)
	require.NoError(t, err)
	_, err = pending.Withdraw()
	require.ErrorContains(t, err, "nothing would be left")

	_, issuing := receiversCA(t, now)
	chainPEM, keyPEM, err := issuing.Client(name)
	require.NoError(t, err)
	imported, err := identity.ImportPEM("acme", chainPEM, keyPEM, vault, now)
	require.NoError(t, err)
	imported, err = imported.RequestSuccessor(vault, now)
	require.NoError(t, err, "an imported one can be followed by a request of ours, for the same names")
	_, err = imported.Install(answer(t, issuing, imported.RequestPEM(), nil), vault, now)
	require.NoError(t, err)
}
