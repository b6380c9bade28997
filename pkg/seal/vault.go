package seal

import (
	"fmt"
	"strings"
)

// Vault seals with the current master key and opens with any that it holds, so
// that a master key can be changed while what was sealed under the old one still
// stands in the store. The zero value seals and opens nothing.
type Vault struct {
	// Current seals.
	Current MasterKey
	// Previous only open.
	Previous []MasterKey
}

// Seal is [MasterKey.Seal] with the current master key.
func (v Vault) Seal(context string, plain []byte) ([]byte, error) {
	return v.Current.Seal(context, plain)
}

// Open is [MasterKey.Open] with the master key that the envelope names. The error
// wraps [ErrWrongMasterKey] if the vault does not hold it.
func (v Vault) Open(context string, sealed []byte) ([]byte, error) {
	e, err := parseEnvelope(sealed)
	if err != nil {
		return nil, err
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
	return nil, fmt.Errorf("%w: %q, but we hold [%s]; add that master key to the previous ones", ErrWrongMasterKey, e.MasterKey, strings.Join(ids, " "))
}

// Stale reports whether the sealed secret should be opened and sealed again,
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
