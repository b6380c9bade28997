package signature

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// custodyPrefix is how the place of a key begins that a PKCS#11 token keeps. What
// follows is a PKCS#11 URI (RFC 7512), which this package does not read.
const custodyPrefix = "token:"

// maxPlace, in bytes, bounds where a key is.
const maxPlace = 16 << 10

// ErrCustody means that a key which stays in custody, in a token, has not signed:
// the token is away, it does not know the key, or nobody was given to ask it. The
// delivery has to wait; no other key signs in its place.
var ErrCustody = errors.New("the key's custody did not sign")

// Custody signs with private keys that never leave where they are.
type Custody interface {
	// Sign returns the raw signature over message by the key at the place, as
	// [Key.Custody] names it: 64 bytes of Ed25519 (RFC 8032), or r and s of ECDSA on
	// P-256 with SHA-256, 32 bytes each. It gives up when ctx ends. It need not
	// check which key answers: whoever asks verifies the signature.
	Sign(ctx context.Context, place string, message []byte) ([]byte, error)
}

// KeyInCustody makes a key of a scheme with key pairs whose private half is at a
// place, "token:" and a PKCS#11 URI, and whose public half is written as
// [Key.Public] writes it. It gets a random id, state [Next] and no dates. It
// verifies at once, and signs in a ring that was bound by [Ring.Bind].
//
// The error wraps [ErrInvalidKey] or [ErrUnknownScheme].
func KeyInCustody(scheme, place, public string) (Key, error) {
	s, err := lookup(scheme)
	if err != nil {
		return Key{}, err
	}
	if err := checkPlace(place); err != nil {
		return Key{}, fmt.Errorf("%w for scheme %s: %w", ErrInvalidKey, scheme, err)
	}
	half, err := s.public(public)
	if errors.Is(err, errShared) {
		err = errors.New("it signs with a shared secret, which no token keeps for it; schemes with key pairs are " + V1a + ", " + HTTPEd25519 + " and " + HTTPECDSA)
	}
	if err != nil {
		return Key{}, fmt.Errorf("%w: public key for scheme %s: %w", ErrInvalidKey, scheme, err)
	}
	k, err := newRandomKey(scheme, custodyMaterial(place, half))
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

func checkPlace(place string) error {
	switch rest, ok := strings.CutPrefix(place, custodyPrefix); {
	case !ok || rest == "":
		return errors.New("the place of a key in custody is token: and a PKCS#11 URI")
	case len(place) > maxPlace:
		return fmt.Errorf("the place of the key is %d bytes long; at most %d are allowed", len(place), maxPlace)
	case strings.ContainsFunc(place, func(r rune) bool { return unicode.IsControl(r) || r > unicode.MaxASCII }):
		return errors.New("the place of the key holds characters that no URI has")
	case strings.Contains(strings.ToLower(rest), "pin-value"):
		// A place is shown; a PIN must not be.
		return errors.New("the place of the key holds a PIN, where everybody sees it; use pin-source, and change that PIN")
	}
	return nil
}

// custodyMaterial verifies, and refuses to sign: see bound.
func custodyMaterial(place string, half publicKey) *material {
	return &material{
		sign: func([]byte, []byte, []byte) ([]byte, error) {
			return nil, fmt.Errorf("%w: this program was not told how to open a token", ErrCustody)
		},
		match:  half.match,
		reveal: func() string { return "" },
		public: half,
		place:  place,
	}
}

// bound is the material with somebody to ask. A signature is believed only when
// the registered public key verifies it, so that another key which the token has
// under that name by now signs nothing, nor does a token that errs.
func (m *material) bound(ctx context.Context, custody Custody) *material {
	ask := *m
	ask.sign = func(dst, prefix, body []byte) ([]byte, error) {
		raw, err := custody.Sign(ctx, m.place, join(prefix, body))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCustody, err)
		}
		if !m.match(prefix, body, [][]byte{raw}) {
			return nil, fmt.Errorf("%w: the signature is not one by the registered public key, so it is thrown away; the token holds another key under this name, or is at fault", ErrCustody)
		}
		return append(dst, raw...), nil
	}
	return &ask
}

// Custody is the place of a key that stays in custody, "token:" and a PKCS#11 URI,
// or "" for one that the ring holds. It is no secret.
func (k Key) Custody() string {
	if k.material == nil {
		return ""
	}
	return k.material.place
}

// Bind returns the ring with somebody to ask for the signatures of its keys in
// custody, until ctx ends. A ring without such keys is returned as it is.
func (r Ring) Bind(ctx context.Context, custody Custody) Ring {
	if !r.custody {
		return r
	}
	bind := func(keys []Key) []Key {
		all := make([]Key, len(keys))
		for i, k := range keys {
			if k.Custody() != "" {
				k.material = k.material.bound(ctx, custody)
			}
			all[i] = k
		}
		return all
	}
	bound := Ring{keys: bind(r.keys), signing: make(map[string][]Key, len(r.signing)), custody: true}
	for scheme, keys := range r.signing {
		bound.signing[scheme] = bind(keys)
	}
	return bound
}

// Moved returns a ring in which a key that it holds is at the place of k, which
// has the same scheme and public key: a token that was put somewhere else, or a
// key that was copied into one. Nothing else changes. The error wraps
// [ErrNoSuchKey] if the ring has no such key, or [ErrInvalidKey].
func (r Ring) Moved(k Key) (Ring, Key, error) {
	for i, held := range r.keys {
		if held.Scheme != k.Scheme || k.Custody() == "" || !sameSecret(held, k) {
			continue
		}
		if held.State == Revoked {
			return Ring{}, held, fmt.Errorf("%w: key %q is revoked, and stays where it is", ErrInvalidKey, held.ID)
		}
		keys := r.Keys()
		keys[i].material = k.material
		moved, err := NewRing(keys...)
		return moved, keys[i], err
	}
	return Ring{}, Key{}, fmt.Errorf("%w: none of scheme %s has this public key", ErrNoSuchKey, k.Scheme)
}

// PublicText writes a public key as the scheme does, in the form that
// [ParsePublicKey] and [KeyInCustody] read. The error wraps [ErrInvalidKey] if the
// scheme has no keys of this kind, or [ErrUnknownScheme].
func PublicText(scheme string, key crypto.PublicKey) (string, error) {
	if _, err := lookup(scheme); err != nil {
		return "", err
	}
	pair := func() (string, error) {
		half, err := describe(key, nil)
		if err != nil {
			return "", fmt.Errorf("%w for scheme %s: %w", ErrInvalidKey, scheme, err)
		}
		return half.text, nil
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		if scheme == V1a {
			return prefixPublic + base64.StdEncoding.EncodeToString(key), nil
		}
		if scheme == HTTPEd25519 {
			return pair()
		}
		return "", fmt.Errorf("%w for scheme %s: it is an Ed25519 key, which signs for %s or %s", ErrInvalidKey, scheme, V1a, HTTPEd25519)
	case *ecdsa.PublicKey:
		if scheme == HTTPECDSA && key.Curve == elliptic.P256() {
			return pair()
		}
		return "", fmt.Errorf("%w for scheme %s: it is an ECDSA key on %s; those on P-256 sign for %s, and no others for any scheme", ErrInvalidKey, scheme, key.Curve.Params().Name, HTTPECDSA)
	}
	return "", fmt.Errorf("%w for scheme %s: it is a key of another kind (RSA?); Ed25519 signs for %s and %s, ECDSA on P-256 for %s", ErrInvalidKey, scheme, V1a, HTTPEd25519, HTTPECDSA)
}
