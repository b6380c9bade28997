package operator

import (
	"context"
	"slices"

	"github.com/handfast/handfast/pkg/signature"
)

// ResealKeys seals the signing keys of every endpoint under the vault's current master key. The error lists what could
// not be; everything else is done, and doing it again goes on.
func (o *Operator) ResealKeys(ctx context.Context, vault signature.Vault) (Resealed, error) {
	result := Resealed{Changed: []string{}}
	keyring, err := o.keyring(ctx, vault)
	if err != nil {
		return result, err
	}
	done, err := keyring.Reseal(ctx)
	for _, key := range done.Changed {
		result.Changed = append(result.Changed, key.String())
	}
	slices.Sort(result.Changed)
	result.Kept = done.Kept
	if err != nil {
		return result, closed(err)
	}
	return result, nil
}
