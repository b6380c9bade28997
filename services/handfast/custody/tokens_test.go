package custody

import (
	"encoding/asn1"
	"log/slog"
	"math/big"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const someURI = "pkcs11:token=acme;object=orders?module-path=/nowhere/p11.so&pin-source=env:NO_PIN"

func TestPlaces(t *testing.T) {
	place, err := Place(someURI)
	require.NoError(t, err)
	assert.Equal(t, "token:"+someURI, place)
	for uri, words := range map[string]string{
		"":                                  "does not begin with pkcs11:",
		"token:" + someURI:                  "does not begin with pkcs11:",
		someURI + "&certificate=/a.pem":     "certificate has no place here",
		someURI + "&pin-value=1234":         "pin-value is refused",
		"pkcs11:token=a?module-path=p11.so": "not an absolute path",
	} {
		_, err := Place(uri)
		require.ErrorContains(t, err, words)
		assert.NotContains(t, err.Error(), "1234")
	}
	require.NoError(t, CheckModule("/usr/lib/p11.so"))
	for _, path := range []string{"", "p11.so", "/usr/lib/../p11.so", "/usr//lib/p11.so"} {
		require.ErrorContains(t, CheckModule(path), "absolute path")
	}
}

func TestOnlyNamedModulesAreLoaded(t *testing.T) {
	place := "token:" + someURI
	_, err := New([]string{"/nowhere/p11"}, slog.New(slog.DiscardHandler)).Sign(t.Context(), place, []byte("x"))
	require.ErrorContains(t, err, "--token-module /nowhere/p11.so")
	tokens := New([]string{"/nowhere/p11.so"}, slog.New(slog.DiscardHandler))
	_, err = tokens.Sign(t.Context(), place, []byte("x"))
	require.ErrorContains(t, err, "NO_PIN is not set", "this one is tried")
	_, err = tokens.Sign(t.Context(), "token:pkcs11:nonsense", []byte("x"))
	require.ErrorContains(t, err, "nonsense")
	for i := range maxKeys {
		_, err = tokens.key("token:pkcs11:token=acme;object=o" + strconv.Itoa(i) + "?module-path=/nowhere/p11.so&pin-source=env:NO_PIN")
	}
	require.ErrorContains(t, err, "no more are opened")
	tokens.Close()
	tokens.Close()
	_, err = tokens.Sign(t.Context(), place, []byte("x"))
	require.ErrorIs(t, err, errClosed)
}

func TestSignaturesOfTokensAreRewritten(t *testing.T) {
	type pair struct{ R, S *big.Int }
	one, huge := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256)
	der := func(r, s *big.Int) []byte {
		text, err := asn1.Marshal(pair{r, s})
		require.NoError(t, err)
		return text
	}
	raw, err := scalars(der(one, big.NewInt(258)))
	require.NoError(t, err)
	want := make([]byte, 64)
	want[31], want[62], want[63] = 1, 1, 2
	assert.Equal(t, want, raw, "r and s keep their leading zeros")
	for _, bad := range [][]byte{nil, []byte("x"), append(der(one, one), 0), der(one, huge), der(huge, one), der(new(big.Int), one), der(one, big.NewInt(-1))} {
		_, err := scalars(bad)
		require.ErrorContains(t, err, "no ECDSA signature")
	}
}
