package signature

import (
	"crypto/sha1" //nolint:gosec // prescribed by Twilio's format, and said to be weak
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textSecret reads and makes the secrets of the providers' schemes, where the
// bytes of the whole text are the key.
type textSecret struct {
	scheme string
}

func (t textSecret) parse(secret string) (*material, error) {
	if err := t.check(secret); err != nil {
		return nil, err
	}
	return t.material(secret), nil
}

func (t textSecret) material(secret string) *material {
	key, reveal := []byte(secret), func() string { return secret }
	switch t.scheme {
	case Twilio:
		return newHMAC(sha1.New, key, reveal)
	case TemplateScheme:
		m := newHMAC(sha256.New, key, reveal)
		m.wide = newHMAC(sha512.New, key, reveal)
		return m
	default:
		return newHMAC(sha256.New, key, reveal)
	}
}

func (t textSecret) check(secret string) error {
	switch {
	case secret == "":
		return errors.New("it is empty")
	case len(secret) > maxKeyText:
		return fmt.Errorf("it is %d characters long, which no secret is", len(secret))
	case !utf8.ValidString(secret):
		return errors.New("it is not text in UTF-8; the bytes of the text are the key, so give it as the provider shows it")
	case strings.TrimSpace(secret) != secret:
		return errors.New("it starts or ends with white space, perhaps a line break that was copied along; remove it")
	case strings.ContainsFunc(secret, unicode.IsControl):
		return errors.New("it has a line break or another control character in it; give one secret in one line")
	case strings.HasPrefix(secret, prefixPrivate):
		return fmt.Errorf("it starts with %s: it is a private key of scheme %s and no shared secret", prefixPrivate, V1a)
	case strings.HasPrefix(secret, prefixPublic):
		return fmt.Errorf("it starts with %s: it is a public key of scheme %s and no secret at all", prefixPublic, V1a)
	}
	if rest, ok := strings.CutPrefix(secret, prefixSecret); t.scheme == Stripe && (!ok || rest == "") {
		return wrongPrefix(secret, prefixSecret)
	}
	return nil
}

func (textSecret) public(string) (publicKey, error) { return publicKey{}, errShared }

func (t textSecret) generate(random io.Reader) (*material, error) {
	raw := make([]byte, hmacKeySize)
	if _, err := io.ReadFull(random, raw); err != nil {
		return nil, err
	}
	text := hex.EncodeToString(raw)
	if t.scheme == Stripe {
		text = prefixSecret + text
	}
	return t.material(text), nil
}
