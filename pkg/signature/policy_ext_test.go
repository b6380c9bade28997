package signature_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// Every scheme has an algorithm of the closed list, and only Twilio's is weak.
func TestAlgorithm(t *testing.T) {
	want := map[string]string{
		"v1": "hmac-sha256", "v1a": "ed25519", "rfc9421-ed25519": "ed25519", "rfc9421-ecdsa-p256-sha256": "ecdsa-p256-sha256",
		"rfc9421-hmac-sha256": "hmac-sha256", "docusign": "hmac-sha256", "pagerduty": "hmac-sha256", "github": "hmac-sha256",
		"stripe": "hmac-sha256", "slack": "hmac-sha256", "shopify": "hmac-sha256", "twilio": "hmac-sha1", "template": "hmac-sha256",
	}
	got := map[string]string{}
	for _, scheme := range signature.Schemes() {
		name, err := signature.Algorithm(scheme, signature.Template{})
		require.NoError(t, err)
		assert.Contains(t, signature.Algorithms(), name)
		assert.Equal(t, signature.Weak(scheme) != "", signature.WeakAlgorithm(name) != "", "what is weak is said of both: %s", scheme)
		got[scheme] = name
	}
	assert.Equal(t, want, got)

	name, err := signature.Algorithm("template", signature.Template{Algorithm: "hmac-sha512"})
	require.NoError(t, err)
	assert.Equal(t, "hmac-sha512", name)
	_, err = signature.Algorithm("v9", signature.Template{})
	assert.ErrorIs(t, err, signature.ErrUnknownScheme)
}

func TestPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		allowed  []string
		schemes  []string
		template signature.Template
		refused  []string // words, one for each scheme that may not sign
		cause    error
	}{
		"everything but the weak": {schemes: append(signature.Standard(), "rfc9421-ecdsa-p256-sha256", "stripe", "template")},
		"a weak one is not implied": {
			schemes: []string{"v1", "twilio"}, refused: []string{"scheme twilio signs with hmac-sha1, which is weak and has to be named"}, cause: signature.ErrAlgorithmRefused,
		},
		"a weak one that is named": {allowed: []string{"hmac-sha1"}, schemes: []string{"twilio"}},
		"key pairs only": {
			allowed: []string{"ed25519", "ecdsa-p256-sha256"}, schemes: []string{"v1a", "v1", "rfc9421-ed25519", "github"},
			refused: []string{"scheme v1 signs with hmac-sha256, and only ed25519, ecdsa-p256-sha256 may be used", "scheme github signs"}, cause: signature.ErrAlgorithmRefused,
		},
		"the template's own": {
			allowed: []string{"hmac-sha256"}, schemes: []string{"template"}, template: signature.Template{Algorithm: "hmac-sha512"},
			refused: []string{"scheme template signs with hmac-sha512"}, cause: signature.ErrAlgorithmRefused,
		},
		"an algorithm that does not exist": {
			allowed: []string{"md5"}, schemes: []string{"template"}, template: signature.Template{Algorithm: "md5"},
			refused: []string{"scheme template signs with md5"}, cause: signature.ErrAlgorithmRefused,
		},
		"a scheme that does not exist": {schemes: []string{"v9"}, refused: []string{`"v9"`}, cause: signature.ErrUnknownScheme},
	} {
		t.Run(name, func(t *testing.T) {
			err := signature.Policy{Algorithms: c.allowed}.Check(c.schemes, c.template)
			if c.cause == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.cause)
			for _, words := range c.refused {
				assert.ErrorContains(t, err, words)
			}
		})
	}
}

// It stands in the way of every delivery.
func TestPolicyCostsNothing(t *testing.T) {
	policy, schemes := signature.Policy{Algorithms: []string{"ed25519", "hmac-sha256"}}, []string{"v1", "v1a", "rfc9421-ed25519"}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if policy.Check(schemes, signature.Template{}) != nil {
			t.Error("refused")
		}
	}))
}
