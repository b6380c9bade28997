package signature_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// TestAPublicKeyForWhichEverybodySignsIsRefused registers the points of small order, in every encoding. Each is shown to
// be what it is first: a signature that needs no private key verifies.
func TestAPublicKeyForWhichEverybodySignsIsRefused(t *testing.T) {
	zeros, ones := strings.Repeat("00", 30), strings.Repeat("ff", 30)
	for _, y := range []string{
		"00" + zeros + "00", "01" + zeros + "00", "ec" + ones + "7f", "ed" + ones + "7f", "ee" + ones + "7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	} {
		for _, sign := range []byte{0, 0x80} {
			key, err := hex.DecodeString(y)
			require.NoError(t, err)
			key[31] |= sign
			t.Run(hex.EncodeToString(key), func(t *testing.T) {
				nobodys := make([]byte, ed25519.SignatureSize)
				nobodys[0] = 1 // R of order 1, S = 0
				verifies := 0
				for n := range 400 {
					if ed25519.Verify(key, []byte(strconv.Itoa(n)), nobodys) {
						verifies++
					}
				}
				require.NotZero(t, verifies)

				der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(key))
				require.NoError(t, err)
				for scheme, text := range map[string]string{
					signature.V1a:         "whpk_" + base64.StdEncoding.EncodeToString(key),
					signature.HTTPEd25519: base64.StdEncoding.EncodeToString(der),
				} {
					_, err := signature.ParsePublicKey(scheme, text)
					require.ErrorIs(t, err, signature.ErrInvalidKey, scheme)
					_, err = signature.KeyInCustody(scheme, "token:pkcs11:token=acme;object=orders", text)
					require.ErrorIs(t, err, signature.ErrInvalidKey, scheme)
					assert.ErrorContains(t, err, "small order")
				}
			})
		}
	}
}
