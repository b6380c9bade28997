package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// Resealed is what sealing the keys again has come to.
type Resealed struct {
	// Changed are the endpoints whose keys are sealed under the current master key now and were not before.
	Changed []endpoint.Key
	// Kept counts those whose keys were already.
	Kept int
}

// Reseal seals the keys of every endpoint under the vault's current master key, one after the other and only if nobody
// else has written in the meantime. Nothing else of them changes. The error lists the endpoints whose keys stay as they
// were, and why; all others are done, and doing it again goes on.
func (k *Keyring) Reseal(ctx context.Context) (Resealed, error) {
	var result Resealed
	all, err := k.endpoints(ctx)
	if err != nil {
		return result, err
	}
	var problems []error
	for _, key := range all {
		switch changed, err := k.reseal(ctx, key); {
		case err != nil:
			problems = append(problems, err)
		case changed:
			result.Changed = append(result.Changed, key)
		default:
			result.Kept++
		}
	}
	return result, errors.Join(problems...)
}

// endpoints are those that have keys, in no order.
func (k *Keyring) endpoints(ctx context.Context) ([]endpoint.Key, error) {
	entries, err := k.bucket.List(ctx, "*.*.*")
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	var all []endpoint.Key
	for _, e := range entries {
		key, _, err := stream.ParseEndpointKey(e.Key)
		if err != nil {
			k.logger.WarnContext(ctx, "foreign entry among the signing keys", slog.Any("error", err))
			continue
		}
		all = append(all, key)
	}
	return all, nil
}

// reseal tries again when somebody else, a rotation perhaps, was faster.
func (k *Keyring) reseal(ctx context.Context, key endpoint.Key) (changed bool, err error) {
	for range tries {
		entry, err := k.kv.Get(ctx, stream.EndpointKey(key, k.partitions))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return false, nil // removed in the meantime: there is nothing to seal
		}
		if err != nil {
			return false, fmt.Errorf("read signing keys of %s: %w", key, err)
		}
		stale, err := k.vault.Stale(entry.Value())
		if err != nil {
			return false, fmt.Errorf("signing keys of %s: %w", key, err)
		}
		// What is not stale is opened as well: that it stays closed should not be found out after the old key is gone.
		held, err := k.open(key, entryOf(entry))
		if err != nil || !stale {
			return false, err
		}
		stored, err := k.write(ctx, key, held.ring, held.revision)
		if err != nil || stored {
			return stored, err
		}
	}
	return false, fmt.Errorf("signing keys of %s are being changed by others all the time; try again", key)
}
