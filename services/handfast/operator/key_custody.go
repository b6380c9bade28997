package operator

import (
	"context"
	"errors"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/signer"
)

// Moved is the kind of change of a key that is at another place now.
const Moved = "moved"

// ImportTokenKey takes a key that stays in a token, made by [signature.KeyInCustody]. It becomes what one that was made
// would; one that the endpoint has already is at the new place from then on, and changes in nothing else.
func (o *Operator) ImportTokenKey(ctx context.Context, to endpoint.Key, key signature.Key, active bool, vault signature.Vault) (KeyChange, error) {
	change := KeyChange{Endpoint: to, Kind: Moved}
	_, err := o.changeKeys(ctx, to, vault, func(before signature.Ring) (signature.Ring, error) {
		after, moved, err := before.Moved(key)
		if held, ok := before.Key(moved.ID); ok && held.Custody() == moved.Custody() && err == nil {
			change.Kind, err = Unchanged, signer.ErrUnchanged
		}
		change.Key = moved
		return after, err
	})
	if !errors.Is(err, signature.ErrNoSuchKey) {
		return change, err
	}
	key.Created = time.Now().UTC()
	change, err = o.addKey(ctx, KeyChange{Endpoint: to, Kind: Imported, Key: key}, active, vault)
	if err == nil {
		change.Notes = append(change.Notes, "it stays in the token; every signer needs that token, and --token-module with its library")
	}
	return change, err
}
