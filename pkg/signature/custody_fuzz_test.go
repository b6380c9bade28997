package signature_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// FuzzKeyInCustody: what is taken can be sealed and opened, says the same then, and names no PIN.
func FuzzKeyInCustody(f *testing.F) {
	for _, scheme := range signature.Schemes() {
		f.Add(scheme, place, vectorPublic)
		f.Add(scheme, "token:pkcs11:token=a?pin-value=1", profilePublic)
		f.Add(scheme, "token:", "")
	}
	master, err := signature.ParseMasterKey(strings.Repeat("0123456789abcdef", 4))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, scheme, place, public string) {
		key, err := signature.KeyInCustody(scheme, place, public)
		if err != nil {
			return
		}
		ring, err := signature.NewRing(key)
		require.NoError(t, err)
		sealed, err := ring.Seal(master, "acme/orders")
		require.NoError(t, err)
		opened, err := signature.Open(master, "acme/orders", sealed)
		require.NoError(t, err)
		again := opened.Keys()[0]
		require.Equal(t, []string{place, key.Public(), key.ID}, []string{again.Custody(), again.Public(), again.ID})
		require.NotContains(t, strings.ToLower(place), "pin-value")
	})
}
