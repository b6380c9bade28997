package signature

import (
	"encoding/json"
	"fmt"
)

// Seal encrypts the ring, secrets included, with AES-256-GCM under a fresh random
// nonce and returns one line of JSON. The context is the endpoint's key: the ring
// opens with the same context only. The error says that the master key or the
// context is missing.
func (r Ring) Seal(master MasterKey, context string) ([]byte, error) {
	records := make([]record, len(r.keys))
	for i, k := range r.keys {
		records[i] = recordOf(k, k.Reveal())
	}
	plain, err := json.Marshal(records) //nolint:gosec // to be encrypted, and cleared then
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	defer clear(plain)
	sealed, err := master.Seal(context, plain)
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	return sealed, nil
}

// Open decrypts what [Ring.Seal] returned for the same context. The error wraps
// [ErrWrongMasterKey] if another master key sealed it, [ErrCorrupt] if it was
// changed or sealed for another context, and [ErrInvalidKey] if it opens but
// holds something that this version does not know.
func Open(master MasterKey, context string, sealed []byte) (Ring, error) {
	plain, err := master.Open(context, sealed)
	if err != nil {
		return Ring{}, fmt.Errorf("open keys: %w", err)
	}
	return readRing(context, plain)
}

// readRing reads a ring that has been opened, and clears what it read.
func readRing(context string, plain []byte) (Ring, error) {
	defer clear(plain)
	var records []record
	if err := json.Unmarshal(plain, &records); err != nil {
		// The error could quote the plaintext, so it stays here.
		return Ring{}, fmt.Errorf("%w: it opens, but holds no list of keys", ErrCorrupt)
	}
	keys := make([]Key, len(records))
	for i, r := range records {
		key, err := r.key()
		if err != nil {
			return Ring{}, fmt.Errorf("open keys of %q: %w", context, err)
		}
		keys[i] = key
	}
	return NewRing(keys...)
}
