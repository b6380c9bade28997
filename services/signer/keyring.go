package signer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
)

// Keyring is the bucket of sealed signing keys, opened. What is open stays in this process.
type Keyring struct {
	kv         jetstream.KeyValue
	vault      signature.Vault
	partitions int
	logger     *slog.Logger

	mu    sync.RWMutex
	rings map[endpoint.Key]opened
}

type opened struct {
	ring     signature.Ring
	revision uint64
}

// OpenKeyring binds to the bucket. Nothing is opened yet.
func OpenKeyring(ctx context.Context, js jetstream.JetStream, t stream.Topology, vault signature.Vault, logger *slog.Logger) (*Keyring, error) {
	kv, err := js.KeyValue(ctx, stream.SigningKeyBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", stream.SigningKeyBucket, err)
	}
	return &Keyring{kv: kv, vault: vault, partitions: t.Partitions, logger: logger, rings: make(map[endpoint.Key]opened)}, nil
}

// Ring returns the keys of an endpoint. A scheme that has none yet gets one: whoever stores it first wins, the others
// read it. The error says what keeps the keys closed.
func (k *Keyring) Ring(ctx context.Context, key endpoint.Key, schemes []string) (signature.Ring, error) {
	k.mu.RLock()
	held, ok := k.rings[key]
	k.mu.RUnlock()
	if ok && complete(held.ring, schemes) {
		return held.ring, nil
	}
	// Two rounds more than needed: each lost race means that somebody else made progress.
	for range 4 {
		held, err := k.read(ctx, key)
		if err != nil {
			return signature.Ring{}, err
		}
		if complete(held.ring, schemes) {
			k.keep(key, held)
			return held.ring, nil
		}
		if err := k.extend(ctx, key, held, schemes); err != nil {
			return signature.Ring{}, err
		}
	}
	return signature.Ring{}, fmt.Errorf("signing keys of %s changed too fast to be read; trying again later", key)
}

func complete(ring signature.Ring, schemes []string) bool {
	keys := ring.Keys()
	for _, scheme := range schemes {
		if !slices.ContainsFunc(keys, func(k signature.Key) bool { return k.Scheme == scheme }) {
			return false
		}
	}
	return true
}

func (k *Keyring) read(ctx context.Context, key endpoint.Key) (opened, error) {
	entry, err := k.kv.Get(ctx, stream.EndpointKey(key, k.partitions))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return opened{}, nil
	}
	if err != nil {
		return opened{}, fmt.Errorf("read signing keys of %s: %w", key, err)
	}
	ring, err := k.vault.Open(key.String(), entry.Value())
	if err != nil {
		return opened{}, fmt.Errorf("signing keys of %s stay closed: %w", key, err)
	}
	return opened{ring: ring, revision: entry.Revision()}, nil
}

// extend stores a ring with a new active key for every scheme that has none. A lost race is no error.
func (k *Keyring) extend(ctx context.Context, key endpoint.Key, held opened, schemes []string) error {
	ring := held.ring
	for _, scheme := range schemes {
		if complete(ring, []string{scheme}) {
			continue
		}
		made, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
		if err != nil {
			return fmt.Errorf("make a %s key for %s: %w", scheme, key, err)
		}
		made.State = signature.Active
		if ring, err = ring.Put(made); err != nil {
			return fmt.Errorf("make a %s key for %s: %w", scheme, key, err)
		}
	}
	sealed, err := k.vault.Seal(ring, key.String())
	if err != nil {
		return fmt.Errorf("seal signing keys of %s: %w", key, err)
	}
	at := stream.EndpointKey(key, k.partitions)
	if held.revision == 0 {
		_, err = k.kv.Create(ctx, at, sealed)
	} else {
		_, err = k.kv.Update(ctx, at, sealed, held.revision)
	}
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrKeyExists) || (errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store signing keys of %s: %w", key, err)
	}
	k.logger.InfoContext(ctx, "made signing keys", slog.String("endpoint", key.String()), slog.Any("schemes", schemes))
	return nil
}

func (k *Keyring) keep(key endpoint.Key, o opened) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rings[key].revision < o.revision {
		k.rings[key] = o
	}
}

// Follow keeps what is open equal to the bucket until ctx ends, so that a revoked key stops signing at once.
func (k *Keyring) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := k.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		k.logger.WarnContext(ctx, "cannot follow the signing keys; trying again", slog.Any("error", err))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func (k *Keyring) watch(ctx context.Context) error {
	watcher, err := k.kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", stream.SigningKeyBucket, err)
	}
	defer watcher.Stop() //nolint:errcheck // it ends with the connection in any case
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, open := <-watcher.Updates():
			if !open {
				return errors.New("the watch ended")
			}
			if entry != nil {
				k.take(ctx, entry)
			}
		}
	}
}

func (k *Keyring) take(ctx context.Context, entry jetstream.KeyValueEntry) {
	key, _, err := stream.ParseEndpointKey(entry.Key())
	if err != nil {
		k.logger.WarnContext(ctx, "foreign entry among the signing keys", slog.Any("error", err))
		return
	}
	if entry.Operation() != jetstream.KeyValuePut {
		k.mu.Lock()
		delete(k.rings, key)
		k.mu.Unlock()
		return
	}
	ring, err := k.vault.Open(key.String(), entry.Value())
	if err != nil {
		// What cannot be opened must not go on signing with what was there before.
		k.mu.Lock()
		delete(k.rings, key)
		k.mu.Unlock()
		k.logger.ErrorContext(ctx, "signing keys cannot be opened; deliveries of this endpoint wait",
			slog.String("endpoint", key.String()), slog.Any("error", err))
		return
	}
	k.keep(key, opened{ring: ring, revision: entry.Revision()})
}
