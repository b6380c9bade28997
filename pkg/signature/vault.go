package signature

import (
	"fmt"

	"github.com/handfast/handfast/pkg/seal"
)

// Vault seals with the current master key and opens with any that it holds, so
// that a master key can be changed while rings sealed under the old one still
// stand in the store. It is a [seal.Vault] that knows rings.
type Vault struct {
	// Current seals.
	Current MasterKey
	// Previous only open.
	Previous []MasterKey
}

// Seal is [Ring.Seal] with the current master key.
func (v Vault) Seal(ring Ring, context string) ([]byte, error) {
	return ring.Seal(v.Current, context)
}

// Open is [Open] with the master key that the sealed ring names. The error wraps
// [ErrWrongMasterKey] if the vault does not hold it.
func (v Vault) Open(context string, sealed []byte) (Ring, error) {
	plain, err := seal.Vault(v).Open(context, sealed)
	if err != nil {
		return Ring{}, fmt.Errorf("open keys: %w", err)
	}
	return readRing(context, plain)
}

// Stale reports whether the sealed ring should be opened and sealed again,
// because another master key than the current one sealed it. The error wraps
// [ErrCorrupt].
func (v Vault) Stale(sealed []byte) (bool, error) {
	return seal.Vault(v).Stale(sealed)
}
