package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Prefixes of Standard Webhooks 1.0.0: a shared secret, a private key, a public key.
const (
	prefixSecret  = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
)

const (
	minSecretSize = 24
	maxSecretSize = 64
	// maxKeyText bounds what is looked at: far more than any key needs.
	maxKeyText = 4096
)

const stripeHint = "if it comes from Stripe, it is no Standard Webhooks secret although it starts in the same way: " +
	"Stripe uses the whole text as the key, so the signatures would never match; ask for a Standard Webhooks secret instead"

// ParsePublic reads a public key of scheme v1a ("whpk_" and 32 bytes in standard
// base64); see [ParsePublicKey].
func ParsePublic(public string) (Verifier, error) { return ParsePublicKey(V1a, public) }

// ParsePublicKey reads a public key of the scheme, as given out by [Key.Public],
// for verifying: "whpk_…" for v1a; for the schemes of RFC 9421 a
// SubjectPublicKeyInfo (RFC 5280) in standard base64 or as PEM. The verifier's
// key id is a fingerprint of the key. Take public keys from a place that you
// trust, never from the request that you verify. The error wraps [ErrInvalidKey],
// also for a scheme with shared secrets, or [ErrUnknownScheme].
func ParsePublicKey(scheme, public string) (Verifier, error) {
	s, err := lookup(scheme)
	if err != nil {
		return Verifier{}, err
	}
	key, err := s.public(public)
	if err != nil {
		return Verifier{}, fmt.Errorf("%w: public key for scheme %s: %w", ErrInvalidKey, scheme, err)
	}
	sum := sha256.Sum256([]byte(key.text))
	return Verifier{scheme: scheme, keyID: "pub-" + hex.EncodeToString(sum[:8]), match: key.match}, nil
}

// errShared answers whoever looks for a public key where there is none.
var errShared = errors.New("this scheme has shared secrets and no public keys; use Key.Verifier")

// standardSecret reads and makes keys of v1.
type standardSecret struct{}

func (standardSecret) parse(secret string) (*material, error) { return parseHMAC(secret) }

func (standardSecret) public(string) (publicKey, error) { return publicKey{}, errShared }

func (standardSecret) generate(random io.Reader) (*material, error) {
	key := make([]byte, hmacKeySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, err
	}
	return newStandardSecret(key), nil
}

// standardPair reads and makes keys of v1a.
type standardPair struct{}

func (standardPair) parse(secret string) (*material, error) { return parseEd25519(secret) }

func (standardPair) public(text string) (publicKey, error) {
	raw, err := decode(text, prefixPublic)
	if err != nil {
		return publicKey{}, err
	}
	if len(raw) != ed25519.PublicKeySize {
		return publicKey{}, fmt.Errorf("it holds %d bytes; a public key has %d", len(raw), ed25519.PublicKeySize)
	}
	key := ed25519.PublicKey(raw)
	if smallOrder(key) {
		return publicKey{}, errSmallOrder
	}
	return publicKey{text: text, key: key, match: matchEd25519(key)}, nil
}

func (standardPair) generate(random io.Reader) (*material, error) {
	seed := make([]byte, seedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, err
	}
	return newStandardPair(seed), nil
}

func parseHMAC(secret string) (*material, error) {
	raw, err := decode(secret, prefixSecret)
	if err != nil {
		if strings.HasPrefix(secret, prefixSecret) {
			err = fmt.Errorf("%w; %s", err, stripeHint)
		}
		return nil, err
	}
	if looksHex(secret[len(prefixSecret):]) {
		return nil, errors.New("only hexadecimal digits follow whsec_, so it is not base64; write the bytes in base64; " + stripeHint)
	}
	if len(raw) < minSecretSize || len(raw) > maxSecretSize {
		return nil, fmt.Errorf("it holds %d bytes; a secret needs %d to %d; %s", len(raw), minSecretSize, maxSecretSize, stripeHint)
	}
	return newStandardSecret(raw), nil
}

func parseEd25519(secret string) (*material, error) {
	raw, err := decode(secret, prefixPrivate)
	if err != nil {
		return nil, err
	}
	switch len(raw) {
	case ed25519.SeedSize:
	case ed25519.PrivateKeySize:
		whole := ed25519.NewKeyFromSeed(raw[:seedSize])
		if subtle.ConstantTimeCompare(whole, raw) != 1 {
			return nil, errors.New("its two halves do not belong together: the last 32 bytes are not the public key of the first 32; " +
				"copy it again, or give the 32-byte seed alone")
		}
	default:
		return nil, fmt.Errorf("it holds %d bytes; a private key is a seed of %d bytes, or seed and public key of %d",
			len(raw), ed25519.SeedSize, ed25519.PrivateKeySize)
	}
	return newStandardPair(raw[:seedSize:seedSize]), nil
}

// decode checks the wanted prefix and returns the bytes behind it. Its errors
// tell positions and lengths only.
func decode(text, prefix string) ([]byte, error) {
	if text == "" {
		return nil, fmt.Errorf("it is empty; it should start with %s", prefix)
	}
	if len(text) > maxKeyText {
		return nil, fmt.Errorf("it is %d characters long, which no key is", len(text))
	}
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		return nil, fmt.Errorf("it has white space at character %d, perhaps a line break that was copied along; remove it", i)
	}
	encoded, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, wrongPrefix(text, prefix)
	}
	if i := strings.IndexAny(encoded, "-_"); i >= 0 {
		return nil, fmt.Errorf("it has a '-' or '_' at character %d, which is the URL form of base64; "+
			"Standard Webhooks uses the standard form with '+' and '/'", len(prefix)+i)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err == nil {
		return raw, nil
	}
	if len(encoded)%4 != 0 {
		return nil, fmt.Errorf("%d characters follow %s, but base64 comes in groups of four; the '=' at the end or other characters are missing",
			len(encoded), prefix)
	}
	return nil, fmt.Errorf("what follows %s is not standard base64: %w", prefix, err)
}

func wrongPrefix(text, want string) error {
	var found string
	switch {
	case strings.HasPrefix(text, prefixSecret):
		found = "it is a shared secret, which belongs to scheme " + V1
	case strings.HasPrefix(text, prefixPrivate):
		found = "it is a private key, which belongs to scheme " + V1a
	case strings.HasPrefix(text, prefixPublic):
		found = "it is a public key, which verifies signatures of scheme " + V1a + " and cannot sign"
	case strings.HasPrefix(text, "sk_") || strings.HasPrefix(text, "rk_") || strings.HasPrefix(text, "pk_"):
		found = "it looks like a Stripe API key, which is no webhook secret at all"
	default:
		found = "it has another prefix or none"
	}
	return fmt.Errorf("it should start with %s, but %s", want, found)
}

// looksHex finds hexadecimal text, which is valid base64 of the wrong bytes. A
// real secret looks like it about once in 10^15.
func looksHex(text string) bool {
	const digits = "0123456789"
	return strings.ContainsAny(text, digits) &&
		(strings.Trim(text, digits+"abcdef") == "" || strings.Trim(text, digits+"ABCDEF") == "")
}
