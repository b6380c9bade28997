package signature

import (
	"fmt"
	"io"
	"strings"
)

// Names of the schemes.
const (
	// V1 is HMAC-SHA256 with a shared secret (Standard Webhooks 1.0.0, "v1").
	V1 = "v1"
	// V1a is Ed25519 with a key pair (Standard Webhooks 1.0.0, "v1a").
	V1a = "v1a"
)

// Scheme is one way to sign a request.
type Scheme interface {
	// Name is the scheme's name, as in [Schemes].
	Name() string
	// Sign returns the header fields that sign r with every one of keys. It
	// refuses a key of another scheme, and having no keys; [Signer] is what picks
	// the keys.
	Sign(r Request, keys []Key) ([]Field, error)
}

// keyFormat is what a scheme of this package knows about its own keys.
type keyFormat interface {
	Scheme
	parse(secret string) (*material, error)
	generate(random io.Reader) (*material, error)
}

// Schemes returns the names of every scheme, the one that most receivers
// understand first. The set is closed.
func Schemes() []string { return []string{V1, V1a} }

// Lookup returns the scheme of that name, and false if there is none.
func Lookup(name string) (Scheme, bool) {
	s, err := lookup(name)
	return s, err == nil
}

func lookup(name string) (keyFormat, error) {
	switch name {
	case V1:
		return hmacScheme{}, nil
	case V1a:
		return ed25519Scheme{}, nil
	}
	return nil, fmt.Errorf("%w %q; use one of %s", ErrUnknownScheme, name, strings.Join(Schemes(), ", "))
}
