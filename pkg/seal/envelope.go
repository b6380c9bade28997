package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	envelopeVersion = 1
	// maxSealed, in bytes, bounds what is parsed. What we seal takes about 20 KiB
	// at most.
	maxSealed = 256 << 10
	// label goes in front of what every envelope is bound to. Rings of signing
	// keys were the first to be sealed; the words stay, or those would not open
	// any more.
	label = "handfast sealed ring"
)

// envelope is a sealed secret as it is stored: one line of JSON.
type envelope struct {
	Version    int    `json:"v"`
	MasterKey  string `json:"kid"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

// bound is what the ciphertext is bound to besides its content: change one of
// these and it does not open. Lengths come first, so that no two sets of parts
// give the same bytes.
func (e envelope) bound(context string) []byte {
	out := []byte(label)
	out = binary.AppendUvarint(out, uint64(e.Version)) //nolint:gosec // a version is 1
	for _, part := range []string{e.MasterKey, context} {
		out = binary.AppendUvarint(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

// Seal encrypts plain with AES-256-GCM under a fresh random nonce and returns one
// line of JSON. The context names the place where it will be stored: it opens
// with the same context only. The error wraps [ErrInvalidMasterKey] for the zero
// master key and [ErrNoContext] for an empty context. The caller clears plain.
func (m MasterKey) Seal(context string, plain []byte) ([]byte, error) {
	if m.aead == nil {
		return nil, fmt.Errorf("%w: none was given", ErrInvalidMasterKey)
	}
	if context == "" {
		return nil, fmt.Errorf("%w; name the place that the secret belongs to", ErrNoContext)
	}
	aead := m.aead()
	e := envelope{Version: envelopeVersion, MasterKey: m.id, Nonce: make([]byte, aead.NonceSize())}
	if _, err := io.ReadFull(rand.Reader, e.Nonce); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	e.Ciphertext = aead.Seal(nil, e.Nonce, plain, e.bound(context))
	return json.Marshal(e)
}

// Open decrypts what [MasterKey.Seal] returned for the same context. The error
// wraps [ErrWrongMasterKey] if another master key sealed it, and [ErrCorrupt] if
// it was changed or sealed for another context. The caller clears what it gets
// as soon as it has read it.
func (m MasterKey) Open(context string, sealed []byte) ([]byte, error) {
	e, err := parseEnvelope(sealed)
	if err != nil {
		return nil, err
	}
	return e.open(m, context)
}

func parseEnvelope(sealed []byte) (envelope, error) {
	var e envelope
	if len(sealed) > maxSealed {
		return e, fmt.Errorf("%w: %d bytes long; at most %d are allowed", ErrCorrupt, len(sealed), maxSealed)
	}
	decoder := json.NewDecoder(bytes.NewReader(sealed))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return e, fmt.Errorf("%w: not a sealed secret (one line of JSON): %w", ErrCorrupt, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return e, fmt.Errorf("%w: something follows the sealed secret", ErrCorrupt)
	}
	if e.Version != envelopeVersion {
		return e, fmt.Errorf("%w: envelope version %d, this program reads version %d; a newer program may have written it", ErrCorrupt, e.Version, envelopeVersion)
	}
	if !validMasterKeyID(e.MasterKey) {
		return e, fmt.Errorf("%w: the id of its master key is not one", ErrCorrupt)
	}
	return e, nil
}

func (e envelope) open(master MasterKey, context string) ([]byte, error) {
	if master.aead == nil {
		return nil, fmt.Errorf("%w: none was given", ErrInvalidMasterKey)
	}
	if e.MasterKey != master.id {
		return nil, fmt.Errorf("%w: %q, but we hold %q; give this program that master key as well", ErrWrongMasterKey, e.MasterKey, master.id)
	}
	return e.decrypt(master.aead(), context)
}

func (e envelope) decrypt(aead cipher.AEAD, context string) ([]byte, error) {
	if len(e.Nonce) != aead.NonceSize() {
		return nil, fmt.Errorf("%w: its nonce has %d bytes instead of %d", ErrCorrupt, len(e.Nonce), aead.NonceSize())
	}
	plain, err := aead.Open(nil, e.Nonce, e.Ciphertext, e.bound(context))
	if err != nil {
		// GCM says nothing about why, and so do we.
		return nil, fmt.Errorf("%w: it does not open for %q; restore it from a backup, or create it anew", ErrCorrupt, context)
	}
	return plain, nil
}

// validMasterKeyID keeps an error that quotes the id short. Ids are 16
// hexadecimal digits; a little more is let through, to be named as unknown.
func validMasterKeyID(id string) bool {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return id != "" && len(id) <= 64
}
