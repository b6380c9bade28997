package signature

import (
	"crypto"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

const (
	redacted       = "[redacted]"
	maxKeyIDLength = 64
	keyIDBytes     = 10
)

// Key is one key of one scheme. It is a value: change a copy's State or NotAfter
// and hand it to [Ring.Put]. However it is printed, logged or marshalled, the
// secret does not show; see [Key.Reveal].
type Key struct {
	// ID names the key in logs, spans and receipts: 1 to 64 letters, digits, '_'
	// and '-'. It says nothing about the secret.
	ID string
	// Scheme is the scheme that the key belongs to, and the only one that sees it.
	Scheme string
	// State says whether the key signs.
	State State
	// Created is when the key was made or imported; zero if unknown.
	Created time.Time
	// NotAfter is the last instant at which the key signs; zero means no end.
	NotAfter time.Time

	material *material
}

// GenerateKey makes a new key for the scheme, in state [Next], with a random id.
// It reads the secret and the id from random, which has to be
// crypto/rand.Reader outside tests. The error wraps [ErrUnknownScheme] or is the
// reader's.
func GenerateKey(scheme string, now time.Time, random io.Reader) (Key, error) {
	s, err := lookup(scheme)
	if err != nil {
		return Key{}, err
	}
	secret, err := s.generate(random)
	if err != nil {
		return Key{}, fmt.Errorf("make a key for scheme %s: read random bytes: %w", scheme, err)
	}
	return newKey(scheme, now, secret, random)
}

// ParseSecret reads the secret of one key of the scheme, in the scheme's own form:
//
//   - v1: "whsec_" and 24 to 64 bytes in standard base64, which are the key; v1a:
//     "whsk_" and a seed of 32 bytes, or seed and public key of 64 (Standard
//     Webhooks 1.0.0)
//   - rfc9421-ed25519, rfc9421-ecdsa-p256-sha256: a PKCS #8 private key (RFC 5208)
//     in standard base64 or as PEM, for ECDSA also a PEM of SEC 1 (RFC 5915);
//     rfc9421-hmac-sha256: 24 to 128 bytes in standard base64
//   - stripe: the whole text, which starts with "whsec_"; the other providers and
//     template: the whole text. The bytes of the text are the key.
//
// The key gets a random id, state [Next] and no dates; set what you know.
//
// The error wraps [ErrInvalidKey] or [ErrUnknownScheme], says what is wrong in
// words and never repeats the secret. A secret that could be of another
// provider is not an error; see [Lookalike].
func ParseSecret(scheme, secret string) (Key, error) {
	s, err := lookup(scheme)
	if err != nil {
		return Key{}, err
	}
	m, err := s.parse(secret)
	if err != nil {
		return Key{}, fmt.Errorf("%w for scheme %s: %w", ErrInvalidKey, scheme, err)
	}
	return newRandomKey(scheme, m)
}

func newRandomKey(scheme string, m *material) (Key, error) {
	return newKey(scheme, time.Time{}, m, rand.Reader)
}

// SecretForm is what the secret of a scheme looks like, to be shown in place of one.
// It is "" for an unknown scheme.
func SecretForm(scheme string) string {
	switch scheme {
	case V1:
		return prefixSecret + "BASE64"
	case Stripe:
		return prefixSecret + "TEXT"
	case V1a:
		return prefixPrivate + "BASE64"
	case HTTPEd25519, HTTPECDSA:
		return "PKCS #8"
	case HTTPHMAC:
		return "BASE64"
	}
	if _, err := lookup(scheme); err != nil {
		return ""
	}
	return "TEXT"
}

func newKey(scheme string, now time.Time, m *material, random io.Reader) (Key, error) {
	id := make([]byte, keyIDBytes)
	if _, err := io.ReadFull(random, id); err != nil {
		return Key{}, fmt.Errorf("name a key for scheme %s: read random bytes: %w", scheme, err)
	}
	return Key{ID: "key_" + hex.EncodeToString(id), Scheme: scheme, Created: now, material: m}, nil
}

// Public returns the public key to give to receivers, in the form that
// [ParsePublicKey] reads, or "" for a scheme with a shared secret.
func (k Key) Public() string {
	if k.material == nil {
		return ""
	}
	return k.material.public.text
}

// PublicKey returns the public key for a program, an ed25519.PublicKey or an
// *ecdsa.PublicKey, or nil for a scheme with a shared secret.
func (k Key) PublicKey() crypto.PublicKey {
	if k.material == nil {
		return nil
	}
	return k.material.public.key
}

// usable refuses a key that the scheme must not see, or that cannot sign.
func (k Key) usable(scheme string) error {
	if k.Scheme != scheme || k.material == nil {
		return fmt.Errorf("scheme %s: %w: key %q belongs to scheme %q or has no secret", scheme, ErrInvalidKey, k.ID, k.Scheme)
	}
	return nil
}

// Reveal returns the secret in the form that [ParseSecret] reads, or "" for a key in
// custody, which has none here. It is the only way to see it. Use it to show a secret once to its owner, and nowhere else.
func (k Key) Reveal() string {
	if k.material == nil {
		return ""
	}
	return k.material.reveal()
}

// Verifier returns what a receiver needs to check signatures of this key. A
// revoked key, and a key without a secret, have none: the error wraps
// [ErrInvalidKey].
func (k Key) Verifier() (Verifier, error) {
	if k.material == nil {
		return Verifier{}, fmt.Errorf("%w: key %q has no secret", ErrInvalidKey, k.ID)
	}
	if k.State >= Revoked {
		return Verifier{}, fmt.Errorf("%w: key %q is %s and verifies nothing", ErrInvalidKey, k.ID, k.State)
	}
	v := Verifier{scheme: k.Scheme, keyID: k.ID, match: k.material.match}
	if k.material.wide != nil {
		v.wide = k.material.wide.match
	}
	return v, nil
}

// String describes the key without its secret.
func (k Key) String() string {
	held := "secret " + redacted
	if k.Custody() != "" {
		held = "in custody"
	}
	return fmt.Sprintf("key %s (scheme %s, %s, %s)", k.ID, k.Scheme, k.State, held)
}

// GoString is [Key.String]: %#v shows no secret either.
func (k Key) GoString() string { return k.String() }

// Format writes [Key.String] for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue logs the id, scheme and state.
func (k Key) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", k.ID), slog.String("scheme", k.Scheme), slog.String("state", k.State.String()))
}

// MarshalJSON writes everything but the secret. It cannot be read back: keys are
// stored by [Ring.Seal].
func (k Key) MarshalJSON() ([]byte, error) {
	return marshalRedacted(k)
}

// UnmarshalJSON always fails, because what MarshalJSON writes has no secret.
func (k *Key) UnmarshalJSON([]byte) error {
	return errors.New("signature: a key cannot be read from JSON, because its JSON carries no secret; use ParseSecret or Open")
}

func (k Key) validate() error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: key %q: "+format, append([]any{ErrInvalidKey, k.ID}, args...)...))
	}
	if !validKeyID(k.ID) {
		add("its id needs 1 to %d letters, digits, '_' or '-'", maxKeyIDLength)
	}
	if _, err := lookup(k.Scheme); err != nil {
		add("%w", err)
	}
	if k.State > Revoked {
		add("%s is not a key state", k.State)
	}
	if k.material == nil {
		add("it has no secret; make it with GenerateKey or ParseSecret")
	}
	return errors.Join(problems...)
}

func validKeyID(id string) bool {
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= maxKeyIDLength
}
