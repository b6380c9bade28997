package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// minMACSize and maxMACSize bound the secret of rfc9421-hmac-sha256, in bytes.
const (
	minMACSize = 24
	maxMACSize = 128
)

// messageSecret reads and makes keys of rfc9421-hmac-sha256.
type messageSecret struct{}

func (messageSecret) parse(secret string) (*material, error) {
	if strings.HasPrefix(secret, prefixSecret) {
		return nil, errors.New("it starts with whsec_, as secrets of scheme " + V1 + " and of Stripe do; this scheme takes the key's bytes in base64 without any prefix")
	}
	raw, err := plainBase64(secret)
	if err != nil {
		return nil, err
	}
	if looksHex(secret) {
		return nil, errors.New("it is written in hexadecimal digits, which are base64 of other bytes; write the key's bytes in base64")
	}
	if len(raw) < minMACSize || len(raw) > maxMACSize {
		return nil, fmt.Errorf("it holds %d bytes; a secret needs %d to %d", len(raw), minMACSize, maxMACSize)
	}
	return newMessageSecret(raw), nil
}

func newMessageSecret(raw []byte) *material {
	return newHMAC(sha256.New, raw, func() string { return base64.StdEncoding.EncodeToString(raw) })
}

func (messageSecret) public(string) (publicKey, error) { return publicKey{}, errShared }

func (messageSecret) generate(random io.Reader) (*material, error) {
	raw := make([]byte, hmacKeySize)
	if _, err := io.ReadFull(random, raw); err != nil {
		return nil, err
	}
	return newMessageSecret(raw), nil
}

// messagePair reads and makes key pairs of RFC 9421 schemes, of one kind only.
type messagePair struct {
	scheme string
}

func (p messagePair) parse(secret string) (*material, error) {
	der, err := derOf(secret, "PRIVATE KEY", "EC PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The errors of crypto/x509 say which form was found, not what is in it.
		if ec, sec1Err := x509.ParseECPrivateKey(der); sec1Err == nil {
			key = ec
		} else {
			return nil, errors.New("it is no PKCS #8 private key; make one with: openssl genpkey -algorithm " + p.algorithm())
		}
	}
	return p.material(key)
}

func (p messagePair) algorithm() string {
	if p.scheme == HTTPECDSA {
		return "EC -pkeyopt ec_paramgen_curve:P-256"
	}
	return "ed25519"
}

// material refuses a key of another kind, so that no scheme ever signs with the
// key of another algorithm.
func (p messagePair) material(key crypto.PrivateKey) (*material, error) {
	var m *material
	var public crypto.PublicKey
	switch key := key.(type) {
	case ed25519.PrivateKey:
		if p.scheme != HTTPEd25519 {
			return nil, errors.New("it is an Ed25519 key, which belongs to scheme " + HTTPEd25519)
		}
		m, public = newEd25519(key), key.Public()
	case *ecdsa.PrivateKey:
		if p.scheme != HTTPECDSA {
			return nil, errors.New("it is an ECDSA key, which belongs to scheme " + HTTPECDSA)
		}
		if key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("it lies on the curve %s; this scheme needs P-256", key.Curve.Params().Name)
		}
		m, public = newECDSA(key), &key.PublicKey
	default:
		return nil, errors.New("it is a private key of another kind (RSA?); this scheme needs one made with: openssl genpkey -algorithm " + p.algorithm())
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("it cannot be written as PKCS #8")
	}
	m.reveal = func() string { return base64.StdEncoding.EncodeToString(der) }
	m.public, err = describe(public, m.match)
	return m, err
}

func describe(key crypto.PublicKey, match func(prefix, body []byte, signatures [][]byte) bool) (publicKey, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return publicKey{}, fmt.Errorf("its public key cannot be written: %w", err)
	}
	return publicKey{text: base64.StdEncoding.EncodeToString(der), key: key, match: match}, nil
}

func (p messagePair) public(text string) (publicKey, error) {
	der, err := derOf(text, "PUBLIC KEY")
	if err != nil {
		return publicKey{}, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return publicKey{}, errors.New("it is no SubjectPublicKeyInfo; write one with: openssl pkey -in private.pem -pubout")
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		switch {
		case p.scheme == HTTPEd25519 && smallOrder(key):
			return publicKey{}, errSmallOrder
		case p.scheme == HTTPEd25519:
			return describe(key, matchEd25519(key))
		}
		return publicKey{}, errors.New("it is an Ed25519 key, which belongs to scheme " + HTTPEd25519)
	case *ecdsa.PublicKey:
		if p.scheme == HTTPECDSA && key.Curve == elliptic.P256() {
			return describe(key, matchECDSA(key))
		}
		return publicKey{}, fmt.Errorf("it is an ECDSA key on %s; ECDSA keys on P-256 belong to scheme %s", key.Curve.Params().Name, HTTPECDSA)
	}
	return publicKey{}, errors.New("it is a public key of another kind (RSA?)")
}

func (p messagePair) generate(random io.Reader) (*material, error) {
	raw := make([]byte, seedSize)
	// A random number is no scalar of P-256 once in 2^32 times.
	for range 8 {
		if _, err := io.ReadFull(random, raw); err != nil {
			return nil, err
		}
		if p.scheme == HTTPEd25519 {
			return p.material(ed25519.NewKeyFromSeed(raw))
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err == nil {
			return p.material(key)
		}
	}
	return nil, errors.New("the random bytes are not random")
}

// derOf reads DER that is written as PEM, or in base64 on one line.
func derOf(text string, kinds ...string) ([]byte, error) {
	if len(text) > maxKeyText {
		return nil, fmt.Errorf("it is %d characters long, which no key is", len(text))
	}
	if !strings.Contains(text, "-----BEGIN ") {
		return plainBase64(text)
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("it begins like PEM, but is cut or changed; copy it again with its BEGIN and END lines")
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("it holds more than one PEM block; give the key alone")
	case strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "":
		return nil, errors.New("it is encrypted with a passphrase; decrypt it first, it is sealed when it is stored")
	}
	if slices.Contains(kinds, block.Type) {
		return block.Bytes, nil
	}
	return nil, fmt.Errorf("it is a PEM block of another kind; this needs BEGIN %s", kinds[0])
}

// plainBase64 reads standard base64 that nothing stands around.
func plainBase64(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case len(text) > maxKeyText:
		return nil, fmt.Errorf("it is %d characters long, which no key is", len(text))
	case strings.ContainsFunc(text, unicode.IsSpace):
		return nil, errors.New("it has white space in it, perhaps a line break that was copied along; remove it")
	case strings.HasPrefix(text, prefixPrivate) || strings.HasPrefix(text, prefixPublic):
		return nil, errors.New("it is a key of scheme " + V1a + ", which writes keys in another form and is kept apart")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("it is not standard base64 (with '+', '/' and '=' at the end)")
	}
	return raw, nil
}
