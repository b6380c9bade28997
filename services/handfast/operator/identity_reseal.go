package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
)

// Resealed is what a change of the master key has come to.
type Resealed struct {
	// Changed names the entries that are sealed under the current master key now and were not before.
	Changed []string `json:"changed"`
	// Kept counts those that were already, or have no key.
	Kept int `json:"kept"`
}

// Reseal seals every stored key under the vault's current master key. The error lists what could not be; everything
// else is done, and doing it again goes on.
func (w *Wallet) Reseal(ctx context.Context, vault seal.Vault) (Resealed, error) {
	result := Resealed{Changed: []string{}}
	var problems []error
	for _, prefix := range []string{identity.RecordKey(""), identity.AuthorityKey("")} {
		entries, err := w.list(ctx, prefix+"*")
		if err != nil {
			return result, err
		}
		for _, e := range entries {
			changed, err := w.resealOne(ctx, e.Key, vault)
			switch {
			case err != nil:
				problems = append(problems, err)
			case changed:
				result.Changed = append(result.Changed, strings.ReplaceAll(e.Key, ".", " "))
			default:
				result.Kept++
			}
		}
	}
	return result, errors.Join(problems...)
}

// resealOne tries again when somebody else, a renewal perhaps, was faster.
func (w *Wallet) resealOne(ctx context.Context, key string, vault seal.Vault) (changed bool, err error) {
	for range 5 {
		entry, err := w.entry(ctx, key)
		if err != nil {
			return false, err
		}
		value, changed, err := reseal(entry, vault)
		if err != nil || !changed {
			return false, err
		}
		err = w.put(ctx, key, value, entry.Revision)
		if !errors.Is(err, stream.ErrConflict) {
			return err == nil, err
		}
	}
	return false, busy(key)
}

func reseal(e stream.Entry, vault seal.Vault) (value []byte, changed bool, err error) {
	var sealed encoder
	if strings.HasPrefix(e.Key, identity.RecordKey("")) {
		var record identity.Record
		if record, err = identity.DecodeRecord(e.Key, e.Value); err == nil {
			sealed, changed, err = firstOf(record.Reseal(vault))
		}
	} else {
		var a identity.Authority
		if a, err = identity.DecodeAuthority(e.Key, e.Value); err == nil {
			sealed, changed, err = firstOf(a.Reseal(vault))
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("seal %s again: %w", e.Key, err)
	}
	value, err = sealed.Encode()
	return value, changed, err //nolint:wrapcheck // says what and why
}

func firstOf[T encoder](e T, changed bool, err error) (encoder, bool, error) { return e, changed, err }
