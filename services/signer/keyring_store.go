package signer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
)

// tries is how often a change is made anew after somebody else has written. Each lost race means that somebody made
// progress.
const tries = 8

// ErrUnchanged is what the function of [Keyring.Change] returns when nothing is to be stored.
var ErrUnchanged = errors.New("the keys stay as they are")

// NewKey makes a key of a scheme, in state next. The error wraps [signature.ErrUnknownScheme].
func NewKey(scheme string) (signature.Key, error) {
	return signature.GenerateKey(scheme, time.Now(), rand.Reader) //nolint:wrapcheck // says what already
}

// Change stores what a function makes of an endpoint's keys, which may be none, and returns it. The function is called
// again, with what stands there then, when somebody else has written in the meantime. With [ErrUnchanged] it leaves them
// as they are, which is no error; any other error of it is returned as it is, and nothing is stored.
func (k *Keyring) Change(ctx context.Context, key endpoint.Key, change func(signature.Ring) (signature.Ring, error)) (signature.Ring, error) {
	for range tries {
		held, err := k.read(ctx, key)
		if err != nil {
			return signature.Ring{}, err
		}
		ring, err := change(held.ring)
		if errors.Is(err, ErrUnchanged) {
			return held.ring, nil
		}
		if err != nil {
			return signature.Ring{}, err
		}
		stored, err := k.write(ctx, key, ring, held.revision)
		if err != nil {
			return signature.Ring{}, err
		}
		if stored {
			return ring, nil
		}
	}
	return signature.Ring{}, fmt.Errorf("signing keys of %s are being changed by others all the time; try again", key)
}

// read opens what stands in the bucket; no ring is no error.
func (k *Keyring) read(ctx context.Context, key endpoint.Key) (opened, error) {
	entry, err := k.kv.Get(ctx, stream.EndpointKey(key, k.partitions))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return opened{}, nil
	}
	if err != nil {
		return opened{}, fmt.Errorf("read signing keys of %s: %w", key, err)
	}
	return k.open(key, entryOf(entry))
}

func entryOf(e jetstream.KeyValueEntry) stream.Entry {
	return stream.Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision(), Created: e.Created()}
}

func (k *Keyring) open(key endpoint.Key, entry stream.Entry) (opened, error) {
	ring, err := k.vault.Open(key.String(), entry.Value)
	if err != nil {
		return opened{}, fmt.Errorf("signing keys of %s stay closed: %w", key, err)
	}
	return opened{ring: ring, revision: entry.Revision, at: entry.Created}, nil
}

// write stores a ring if nobody else has written since the revision, and tells whether it has.
func (k *Keyring) write(ctx context.Context, key endpoint.Key, ring signature.Ring, last uint64) (stored bool, err error) {
	sealed, err := k.vault.Seal(ring, key.String())
	if err != nil {
		return false, fmt.Errorf("seal signing keys of %s: %w", key, err)
	}
	at := stream.EndpointKey(key, k.partitions)
	if last == 0 {
		_, err = k.kv.Create(ctx, at, sealed)
	} else {
		_, err = k.kv.Update(ctx, at, sealed, last)
	}
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrKeyExists) || (errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store signing keys of %s: %w", key, err)
	}
	return true, nil
}

// Rings hands on the keys of every endpoint that a filter names: an empty tenant or name stands for all. err says why
// the keys of one endpoint stay closed; the others are handed on all the same. What the function returns ends it.
func (k *Keyring) Rings(ctx context.Context, filter endpoint.Key, each func(key endpoint.Key, ring signature.Ring, err error) error) error {
	orAny := func(token string) string {
		if token == "" {
			return "*"
		}
		return token
	}
	watcher, err := k.kv.Watch(ctx, "*."+orAny(filter.Tenant)+"."+orAny(filter.Name), jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("list bucket %s: %w", stream.SigningKeyBucket, err)
	}
	defer watcher.Stop() //nolint:errcheck // it ends with the connection in any case
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("list bucket %s: %w", stream.SigningKeyBucket, ctx.Err())
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return fmt.Errorf("list bucket %s: the list ended early", stream.SigningKeyBucket)
			case entry == nil:
				return nil
			}
			key, _, err := stream.ParseEndpointKey(entry.Key())
			if err != nil {
				k.logger.WarnContext(ctx, "foreign entry among the signing keys", slog.Any("error", err))
				continue
			}
			held, err := k.open(key, entryOf(entry))
			if err := each(key, held.ring, err); err != nil {
				return err
			}
		}
	}
}
