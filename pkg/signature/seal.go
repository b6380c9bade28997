package signature

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	envelopeVersion = 1
	// maxSealed bounds what is parsed: 64 keys take about 20 KiB.
	maxSealed = 256 << 10
)

// envelope is a sealed ring as it is stored: one line of JSON.
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
	out := []byte("handfast sealed ring")
	out = binary.AppendUvarint(out, uint64(e.Version)) //nolint:gosec // a version is 1
	for _, part := range []string{e.MasterKey, context} {
		out = binary.AppendUvarint(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

// Seal encrypts the ring, secrets included, with AES-256-GCM under a fresh random
// nonce and returns one line of JSON. The context is the endpoint's key: the ring
// opens with the same context only. The error says that the master key or the
// context is missing.
func (r Ring) Seal(master MasterKey, context string) ([]byte, error) {
	if master.aead == nil {
		return nil, fmt.Errorf("seal keys: %w: none was given", ErrInvalidMasterKey)
	}
	if context == "" {
		return nil, errors.New("seal keys: the context is empty; give the key of the endpoint that they belong to")
	}
	records := make([]record, len(r.keys))
	for i, k := range r.keys {
		records[i] = recordOf(k, k.Reveal())
	}
	plain, err := json.Marshal(records) //nolint:gosec // to be encrypted, and cleared then
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	defer clear(plain)
	aead := master.aead()
	e := envelope{Version: envelopeVersion, MasterKey: master.id, Nonce: make([]byte, aead.NonceSize())}
	if _, err := io.ReadFull(rand.Reader, e.Nonce); err != nil {
		return nil, fmt.Errorf("seal keys: read random bytes: %w", err)
	}
	e.Ciphertext = aead.Seal(nil, e.Nonce, plain, e.bound(context))
	return json.Marshal(e)
}

// Open decrypts what [Ring.Seal] returned for the same context. The error wraps
// [ErrWrongMasterKey] if another master key sealed it, [ErrCorrupt] if it was
// changed or sealed for another context, and [ErrInvalidKey] if it opens but
// holds something that this version does not know.
func Open(master MasterKey, context string, sealed []byte) (Ring, error) {
	e, err := parseEnvelope(sealed)
	if err != nil {
		return Ring{}, err
	}
	return e.open(master, context)
}

func parseEnvelope(sealed []byte) (envelope, error) {
	var e envelope
	if len(sealed) > maxSealed {
		return e, fmt.Errorf("%w: %d bytes long; at most %d are allowed", ErrCorrupt, len(sealed), maxSealed)
	}
	decoder := json.NewDecoder(bytes.NewReader(sealed))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return e, fmt.Errorf("%w: not a sealed ring (one line of JSON): %w", ErrCorrupt, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return e, fmt.Errorf("%w: something follows the sealed ring", ErrCorrupt)
	}
	if e.Version != envelopeVersion {
		return e, fmt.Errorf("%w: envelope version %d, this program reads version %d; a newer program may have written it", ErrCorrupt, e.Version, envelopeVersion)
	}
	if !validKeyID(e.MasterKey) {
		return e, fmt.Errorf("%w: the id of its master key is not one", ErrCorrupt)
	}
	return e, nil
}

func (e envelope) open(master MasterKey, context string) (Ring, error) {
	if master.aead == nil {
		return Ring{}, fmt.Errorf("open keys: %w: none was given", ErrInvalidMasterKey)
	}
	if e.MasterKey != master.id {
		return Ring{}, fmt.Errorf("%w: %q, but we hold %q; give the signer that master key as well", ErrWrongMasterKey, e.MasterKey, master.id)
	}
	aead := master.aead()
	if len(e.Nonce) != aead.NonceSize() {
		return Ring{}, fmt.Errorf("%w: its nonce has %d bytes instead of %d", ErrCorrupt, len(e.Nonce), aead.NonceSize())
	}
	plain, err := aead.Open(nil, e.Nonce, e.Ciphertext, e.bound(context))
	if err != nil {
		return Ring{}, fmt.Errorf("%w: it does not open for %q; restore it from a backup, or create new keys", ErrCorrupt, context)
	}
	defer clear(plain)
	var records []record
	if err := json.Unmarshal(plain, &records); err != nil {
		// The error could quote the plaintext, so it stays here.
		return Ring{}, fmt.Errorf("%w: it opens, but holds no list of keys", ErrCorrupt)
	}
	keys := make([]Key, len(records))
	for i, r := range records {
		if keys[i], err = r.key(); err != nil {
			return Ring{}, fmt.Errorf("open keys of %q: %w", context, err)
		}
	}
	return NewRing(keys...)
}
