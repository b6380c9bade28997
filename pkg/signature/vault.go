package signature

import (
	"fmt"
	"strings"
)

// Vault seals with the current master key and opens with any that it holds, so
// that a master key can be changed while rings sealed under the old one still
// stand in the store:
//
//	Current: new, Previous: [old]  ──▶  seal again what is Stale  ──▶  Current: new
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
	e, err := parseEnvelope(sealed)
	if err != nil {
		return Ring{}, err
	}
	held := v.held()
	for _, m := range held {
		if m.id == e.MasterKey {
			return e.open(m, context)
		}
	}
	ids := make([]string, len(held))
	for i, m := range held {
		ids[i] = m.id
	}
	return Ring{}, fmt.Errorf("%w: %q, but we hold [%s]; add that master key to the previous ones", ErrWrongMasterKey, e.MasterKey, strings.Join(ids, " "))
}

// Stale reports whether the sealed ring should be opened and sealed again,
// because another master key than the current one sealed it. The error wraps
// [ErrCorrupt].
func (v Vault) Stale(sealed []byte) (bool, error) {
	e, err := parseEnvelope(sealed)
	return err == nil && e.MasterKey != v.Current.id, err
}

// held returns the master keys that were set.
func (v Vault) held() []MasterKey {
	var held []MasterKey
	for _, m := range append([]MasterKey{v.Current}, v.Previous...) {
		if m.aead != nil {
			held = append(held, m)
		}
	}
	return held
}
