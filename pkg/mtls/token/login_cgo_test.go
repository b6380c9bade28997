//go:build cgo

package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"errors"
	"fmt"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Not every token cuts by itself; SoftHSM does, so that it cannot show this.
func TestCutLeavesWhatTheCurveUses(t *testing.T) {
	digest := sha512.Sum512([]byte("x"))
	for want, public := range map[int]any{
		32: &ecdsa.PublicKey{Curve: elliptic.P256()},
		48: &ecdsa.PublicKey{Curve: elliptic.P384()},
		64: &ecdsa.PublicKey{Curve: elliptic.P521()},
	} {
		assert.Equal(t, digest[:want], cut(public, digest[:]))
	}
	assert.Equal(t, digest[:], cut(nil, digest[:]), "RSA takes it whole")
}

func TestReturnCodesAreTold(t *testing.T) {
	config := Config{Token: "acme", PIN: PINSource{File: "/pin"}, Module: "/m.so"}
	for name, test := range map[string]struct {
		err   error
		class error // errLost, errPIN, errBusy or nil
		want  string
	}{
		"wrong PIN":       {pkcs11.Error(pkcs11.CKR_PIN_INCORRECT), errPIN, `token "acme" refused the PIN from file "/pin"`},
		"locked":          {fmt.Errorf("log in: %w", pkcs11.Error(pkcs11.CKR_PIN_LOCKED)), errPIN, "its security officer sets a new one"},
		"unplugged":       {pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), errLost, `token "acme" was removed`},
		"restarted":       {pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID), errLost, "ended, as after a restart"},
		"logged out":      {pkcs11.Error(pkcs11.CKR_USER_NOT_LOGGED_IN), errLost, "ended, as after a restart"},
		"forked":          {pkcs11.Error(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED), errLost, "ended, as after a restart"},
		"broken":          {pkcs11.Error(pkcs11.CKR_DEVICE_ERROR), errLost, "a fault of its own"},
		"sessions used":   {pkcs11.Error(pkcs11.CKR_SESSION_COUNT), errBusy, "has no session left; lower sessions here"},
		"sessions busy":   {errors.New("resource pool timed out"), errBusy, `all 15 sessions with token "acme" were busy for 5s`},
		"no such token":   {errors.New("could not find PKCS#11 token"), errLost, `there is no token "acme" in any slot of "/m.so"`},
		"closed":          {errors.New("context is closed"), errLost, "was closed"},
		"wrong mechanism": {pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID), nil, "CKR_MECHANISM_INVALID"},
		"something else":  {errors.New("odd"), nil, `token "acme": odd`},
	} {
		t.Run(name, func(t *testing.T) {
			err := inWords(config, test.err)
			require.ErrorContains(t, err, test.want)
			for _, class := range []error{errLost, errPIN, errBusy, errHung} {
				assert.Equal(t, errors.Is(test.class, class), errors.Is(err, class), class)
			}
		})
	}
	require.NoError(t, inWords(config, nil))
}
