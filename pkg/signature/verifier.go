package signature

import (
	"fmt"
	"io"
	"log/slog"
)

// Verifier checks signatures of one key. Make it with [Key.Verifier] for a shared
// secret or with [ParsePublicKey] for a public key. However it is printed, a shared
// secret does not show. The zero value matches nothing and is refused by
// [Verify].
type Verifier struct {
	scheme string
	keyID  string
	match  func(prefix, body []byte, signatures [][]byte) bool
	// wide is match by HMAC-SHA512, of a key for templates.
	wide func(prefix, body []byte, signatures [][]byte) bool
}

// Scheme is the scheme of the signatures that it checks.
func (v Verifier) Scheme() string { return v.scheme }

// KeyID is the id of its key.
func (v Verifier) KeyID() string { return v.keyID }

// Named returns the verifier under the id that the sender has for its key: that of 'handfast key show', the kid of a JWKS
// and the keyid of a signature of RFC 9421. Without it a receiver's records tell an id of the receiver's own. The error
// wraps [ErrInvalidKey].
func (v Verifier) Named(id string) (Verifier, error) {
	if !validKeyID(id) {
		return Verifier{}, fmt.Errorf("%w: the id of a key is 1 to 64 letters, digits, '_' and '-'", ErrInvalidKey)
	}
	v.keyID = id
	return v, nil
}

// Valid reports whether it was made from a key.
func (v Verifier) Valid() bool { return v.match != nil }

// String describes the verifier without its key.
func (v Verifier) String() string {
	return fmt.Sprintf("verifier %s (scheme %s, key %s)", v.keyID, v.scheme, redacted)
}

// GoString is [Verifier.String].
func (v Verifier) GoString() string { return v.String() }

// Format writes [Verifier.String] for every verb.
func (v Verifier) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// LogValue logs the scheme and the key's id.
func (v Verifier) LogValue() slog.Value {
	return slog.GroupValue(slog.String("scheme", v.scheme), slog.String("key", v.keyID))
}

// MarshalText writes [Verifier.String], in JSON as well.
func (v Verifier) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
