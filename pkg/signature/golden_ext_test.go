package signature_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// What stood in a store before the sealing moved to a package of its own has to
// open for ever. This ring was sealed by the program as it was then.
func TestARingSealedLongAgoStillOpens(t *testing.T) {
	const sealed = `{"v":1,"kid":"8dbb3fb8faf8a7c2","nonce":"qIlgeUqcPj0OWW35","ciphertext":"Ur1PW7C4Xm1Kk4+tOTKFtH14b+tDYPQOfC80fP0K71dpo2yBzEhhrN+8yIHYzohwS4c3kV7R2wz3LROuDkq7mF8H0cwer0wJVk9+X98o7SanYmPwv9jeIJyFtOS4y5pI07a3xYAyDcmMjJ14M5YgaRmeARTDTd4vSES23Ae2FtXVGhRVXNopnRKQGNxq+kU9AG6I"}`
	master, err := signature.ParseMasterKey(strings.Repeat("0123456789abcdef", 4))
	require.NoError(t, err)
	ring, err := signature.Open(master, "acme/orders", []byte(sealed))
	require.NoError(t, err)
	require.Len(t, ring.Keys(), 1)
	assert.Equal(t, "golden", ring.Keys()[0].ID)
	assert.Equal(t, signature.Active, ring.Keys()[0].State)
	assert.Equal(t, vectorSecret, ring.Keys()[0].Reveal())
}
