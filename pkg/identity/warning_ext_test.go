package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	from := func(organization string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.Subject.Organization = []string{organization} }
	}
	for title, tc := range map[string]struct {
		alter func(*x509.Certificate)
		after time.Duration
		kinds []identity.WarningKind
		words string
	}{
		"nothing":       {nil, 0, nil, ""},
		"DigiCert":      {from("DigiCert Inc"), 0, []identity.WarningKind{identity.PublicAuthority}, "ends them on 2027-03-01"},
		"Let's Encrypt": {from("Let's Encrypt"), 0, []identity.WarningKind{identity.PublicAuthority}, "since 2026-07-08"},
		"Sectigo":       {from("Sectigo Limited"), 0, []identity.WarningKind{identity.PublicAuthority}, "ends them on 2027-02-10"},
		"another one":   {from("GlobalSign nv-sa"), 0, []identity.WarningKind{identity.PublicAuthority}, "2027-03-15"},
		"private":       {from("Example Bank"), 0, nil, ""},
		"long":          {func(c *x509.Certificate) { c.NotAfter = now.Add(500 * day) }, 0, []identity.WarningKind{identity.LongLived}, "500 days"},
		"398 days":      {func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now, now.Add(398*day) }, time.Second, nil, ""},
		"soon":          {nil, 80 * day, []identity.WarningKind{identity.ExpiresSoon}, "import its successor"},
		"over":          {nil, 91 * day, []identity.WarningKind{identity.ExpiresSoon}, "expired on"},
		"only CN":       {func(c *x509.Certificate) { c.DNSNames = nil }, 0, []identity.WarningKind{identity.NoAlternativeName}, "common name only"},
		"no usage":      {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, 0, []identity.WarningKind{identity.NoUsage}, "clientAuth"},
		"several": {func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage, c.NotAfter, c.Subject.Organization = nil, nil, now.Add(1000*day), []string{"DigiCert Inc"}
		}, 990 * day, []identity.WarningKind{identity.PublicAuthority, identity.LongLived, identity.ExpiresSoon, identity.NoAlternativeName, identity.NoUsage}, ""},
	} {
		certificatePEM, keyPEM := certified(t, key, now, tc.alter)
		r, err := identity.ImportPEM("default", certificatePEM, keyPEM, vault, now)
		require.NoError(t, err, title)
		var kinds []identity.WarningKind
		var text strings.Builder
		for _, w := range r.Warnings(now.Add(tc.after)) {
			kinds = append(kinds, w.Kind)
			text.WriteString(w.String())
		}
		assert.Equal(t, tc.kinds, kinds, title)
		assert.Contains(t, text.String(), tc.words, title)
	}
	ca := newAuthority(t, "main", vault, now)
	r := created(t, "default", ca, vault, now)
	assert.Empty(t, r.Warnings(now), "short-lived on purpose")
	assert.Empty(t, r.Warnings(r.RenewAt()))
	late := r.Warnings(r.Leaf().NotAfter.Add(-time.Hour))
	require.Len(t, late, 1)
	assert.Contains(t, late[0].Text, `authority "main" should have renewed it by now`)
	text, err := json.Marshal(late)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"kind":"expires_soon"`)
	assert.Empty(t, ca.Warnings(now))
	assert.Len(t, ca.Warnings(now.AddDate(9, 6, 0)), 1)
}
