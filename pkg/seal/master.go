package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// MasterKeySize is the length of a master key in bytes (AES-256).
const MasterKeySize = 32

const (
	// masterIDSize is the length of a master key's id, in hexadecimal digits.
	masterIDSize = 16
	// maxMasterFile, in bytes, bounds what is read from a master key file.
	maxMasterFile = 4096
	redacted      = "[redacted]"
)

// MasterKey seals secrets at rest. Its id is derived from it one way, so that the
// right one is found among several. However it is printed, logged or
// marshalled, the key does not show. The zero value seals and opens nothing.
//
// Nonces are random, so a master key has to be changed long before it has sealed
// 2^32 secrets (NIST SP 800-38D, section 8.3).
type MasterKey struct {
	id string
	// These are functions because the bytes that they close over cannot be
	// reached by reflection: no formatter, no deep-print library and no failed
	// assertion can show them, even where fmt ignores our methods.
	aead   func() cipher.AEAD
	reveal func() string
	stamp  func(purpose string, parts [][]byte) []byte
}

// GenerateMasterKey makes a new master key from random, which has to be
// crypto/rand.Reader outside tests. The error is the reader's.
func GenerateMasterKey(random io.Reader) (MasterKey, error) {
	raw := make([]byte, MasterKeySize)
	if _, err := io.ReadFull(random, raw); err != nil {
		return MasterKey{}, fmt.Errorf("make a master key: read random bytes: %w", err)
	}
	return newMasterKey(raw)
}

// ParseMasterKey reads a master key of exactly 32 bytes written in hexadecimal or
// in base64 (standard or URL form, with or without '='). White space around it
// is ignored. The error wraps [ErrInvalidMasterKey] and never repeats the key.
func ParseMasterKey(text string) (MasterKey, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return MasterKey{}, fmt.Errorf("%w: it is empty; it needs %d bytes in base64 or hexadecimal", ErrInvalidMasterKey, MasterKeySize)
	}
	if IsWrapped([]byte(text)) {
		return MasterKey{}, fmt.Errorf("%w: a KMS has wrapped it; name that KMS beside it (--master-key-kms or --identity-key-kms)", ErrInvalidMasterKey)
	}
	raw, err := decodeMasterKey(text)
	if err != nil {
		return MasterKey{}, fmt.Errorf("%w: %w", ErrInvalidMasterKey, err)
	}
	return newMasterKey(raw)
}

// decodeMasterKey need not guess: 64 hexadecimal digits would be 48 bytes in
// base64, which is the wrong length.
func decodeMasterKey(text string) ([]byte, error) {
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == MasterKeySize {
		return raw, nil
	}
	if strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		return nil, errors.New("it has a line break inside; give one key on one line")
	}
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	raw, err := base64.RawStdEncoding.Strict().DecodeString(standard)
	if err != nil {
		return nil, errors.New("it is neither base64 nor hexadecimal")
	}
	if len(raw) != MasterKeySize {
		return nil, fmt.Errorf("it holds %d bytes; it needs exactly %d", len(raw), MasterKeySize)
	}
	return raw, nil
}

// LoadMasterKey reads a master key from a file, in a form that [ParseMasterKey]
// reads. It refuses a file that anybody but its owner may read or write, and says
// how to mend that. The error wraps [ErrInvalidMasterKey].
func LoadMasterKey(path string) (MasterKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return MasterKey{}, err
	}
	defer clear(text)
	key, err := ParseMasterKey(string(text))
	if err != nil {
		return MasterKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// readPrivate reads a small file that only its owner can use.
func readPrivate(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidMasterKey, err)
	}
	defer func() { _ = file.Close() }() // read only: nothing to lose
	// The open file is asked, not the path, which could be another file by now.
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidMasterKey, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrInvalidMasterKey, path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has permissions %#o, so others than its owner can use it; run: chmod 600 '%s'",
			ErrInvalidMasterKey, path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxMasterFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidMasterKey, err)
	}
	return text, nil
}

func newMasterKey(raw []byte) (MasterKey, error) {
	if bytes.Equal(raw, make([]byte, MasterKeySize)) {
		return MasterKey{}, fmt.Errorf("%w: every byte of it is zero, so it was never made; generate one", ErrInvalidMasterKey)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return MasterKey{}, fmt.Errorf("%w: %w", ErrInvalidMasterKey, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return MasterKey{}, fmt.Errorf("%w: %w", ErrInvalidMasterKey, err)
	}
	name := hmac.New(sha256.New, raw)
	name.Write([]byte("handfast master key id"))
	return MasterKey{
		id:     hex.EncodeToString(name.Sum(nil)[:masterIDSize/2]),
		aead:   func() cipher.AEAD { return aead },
		reveal: func() string { return base64.StdEncoding.EncodeToString(raw) },
		stamp:  stamper(raw),
	}, nil
}

// ID names the master key (16 hexadecimal digits) without telling it.
func (m MasterKey) ID() string { return m.id }

// Reveal returns the key in base64, as [ParseMasterKey] reads it. It is the only
// way to see it; use it to write a new key to its file.
func (m MasterKey) Reveal() string {
	if m.reveal == nil {
		return ""
	}
	return m.reveal()
}

// String describes the master key by its id.
func (m MasterKey) String() string { return "master key " + m.id + " " + redacted }

// GoString is [MasterKey.String].
func (m MasterKey) GoString() string { return m.String() }

// Format writes [MasterKey.String] for every verb.
func (m MasterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// LogValue logs the id.
func (m MasterKey) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MarshalText writes [MasterKey.String], in JSON as well.
func (m MasterKey) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
