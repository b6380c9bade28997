package signature

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
)

// errSmallOrder refuses a public key for which everybody can sign.
var errSmallOrder = errors.New("it is one of the few points of small order, for which anybody can write signatures that verify; nobody has a private key for it")

// smallOrder tells whether a public key is a point whose order divides 8, in any encoding that crypto/ed25519 reads (RFC
// 8032 section 5.1.3 and 5.1.7). With the point R of order 1 and S = 0 one message in eight, or every one, verifies.
func smallOrder(key ed25519.PublicKey) bool {
	const (
		zeros = "000000000000000000000000000000000000000000000000000000000000"
		ones  = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	)
	if len(key) != ed25519.PublicKeySize {
		return false
	}
	y := append([]byte(nil), key...)
	y[len(y)-1] &^= 0x80 // the sign of x: a point and its negative have one order
	switch hex.EncodeToString(y) {
	case "00" + zeros + "00", "01" + zeros + "00", // y = 0, 1
		"ec" + ones + "7f", "ed" + ones + "7f", "ee" + ones + "7f", // y = -1, and 0 and 1 as p and p+1
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // the four of order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a":
		return true
	}
	return false
}
