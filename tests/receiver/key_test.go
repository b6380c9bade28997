package receiver

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

// caKey signs what an authority of ours does not: revocation lists, and certificates that are wrong on purpose.
type caKey struct{ crypto.Signer }

func keyOf(t *testing.T, a *authority.Authority) *caKey {
	t.Helper()
	text, err := a.Marshal()
	require.NoError(t, err)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" {
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(t, err)
		signer, ok := key.(crypto.Signer)
		require.True(t, ok)
		return &caKey{signer}
	}
	require.Fail(t, "the authority has no key")
	return nil
}
