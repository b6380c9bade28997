package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
)

// Keyring is the bucket of sealed signing keys, opened. What is open stays in this process.
//
// A keyring that follows the bucket answers from memory, as long as it is sure that it knows everything that was written
// until a moment ago; else it asks the bucket. So a change is in force within a second in every signer, also in one whose
// view of the bucket stands still without an error.
type Keyring struct {
	kv         jetstream.KeyValue
	bucket     *stream.Bucket
	watched    watched // bucket
	vault      signature.Vault
	partitions int
	logger     *slog.Logger
	custody    signature.Custody
	view       view
	published  published
}

// watched is a bucket that can be followed.
type watched interface {
	Watch(ctx context.Context, w stream.Watch)
}

// errKeysLost keeps a signer from making others in their place, which no receiver knows.
var errKeysLost = errors.New("were lost with their bucket; restore it from a backup, or import or create the keys again and give them to the receiver")

// OpenKeyring binds to the bucket. Nothing is opened yet.
func OpenKeyring(ctx context.Context, js jetstream.JetStream, t stream.Topology, vault signature.Vault, logger *slog.Logger) (*Keyring, error) {
	kv, err := js.KeyValue(ctx, stream.SigningKeyBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", stream.SigningKeyBucket, err)
	}
	bucket, err := stream.OpenBucket(ctx, js, stream.SigningKeyBucket, logger)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	return &Keyring{
		kv: kv, bucket: bucket, watched: bucket, vault: vault, partitions: t.Partitions, logger: logger, custody: noCustody{},
	}, nil
}

// Ring returns the keys of an endpoint. A scheme that has none yet gets one: whoever stores it first wins, the others
// read it. Keys that stay in tokens sign until ctx ends. The error says what keeps the keys closed.
func (k *Keyring) Ring(ctx context.Context, key endpoint.Key, schemes []string) (signature.Ring, error) {
	ring, err := k.ring(ctx, key, schemes)
	return ring.Bind(ctx, k.custody), err
}

func (k *Keyring) ring(ctx context.Context, key endpoint.Key, schemes []string) (signature.Ring, error) {
	known, sure := k.known(ctx, key)
	if sure && known.err != nil {
		return signature.Ring{}, known.err
	}
	if sure && complete(known.ring, schemes) {
		return known.ring, nil
	}
	held, err := k.read(ctx, key)
	if err != nil {
		return signature.Ring{}, err
	}
	// A bucket that was made anew counts from 1, and another leader of it may have another clock: only both tell.
	if held.revision != 0 && held.revision < known.revision && held.at.Before(known.at) {
		held = known // a replica of the bucket that is behind has answered
	}
	if held.revision == 0 && errors.Is(known.err, errKeysLost) {
		held = known
	}
	if held.err != nil || complete(held.ring, schemes) {
		return held.ring, held.err
	}
	if err := k.fits(ctx, key); err != nil {
		return signature.Ring{}, err
	}
	made := false
	ring, err := k.Change(ctx, key, func(before signature.Ring) (signature.Ring, error) {
		if made = !complete(before, schemes); !made {
			return before, ErrUnchanged // somebody else was faster
		}
		return extend(before, key, schemes)
	})
	if err == nil && made {
		k.logger.InfoContext(ctx, "made signing keys", slog.String("endpoint", key.String()), slog.Any("schemes", schemes))
	}
	return ring, err
}

func complete(ring signature.Ring, schemes []string) bool {
	for _, scheme := range schemes {
		if !ring.Has(scheme) {
			return false
		}
	}
	return true
}

// extend adds an active key for every scheme that has none at all. Where all keys are revoked none is made: whoever
// revoked them has to decide.
func extend(ring signature.Ring, key endpoint.Key, schemes []string) (signature.Ring, error) {
	for _, scheme := range schemes {
		if complete(ring, []string{scheme}) {
			continue
		}
		made, err := NewKey(scheme)
		if err == nil {
			made.State = signature.Active
			ring, err = ring.Put(made)
		}
		if err != nil {
			return signature.Ring{}, fmt.Errorf("make a %s key for %s: %w", scheme, key, err)
		}
	}
	return ring, nil
}

// Follow keeps what is open equal to the bucket until ctx ends, so that a revoked key stops signing at once.
func (k *Keyring) Follow(ctx context.Context) {
	defer k.view.stop()
	k.watched.Watch(ctx, stream.Watch{
		Begin: k.view.begin,
		Take:  func(e stream.Entry) { k.take(ctx, e) },
		Ready: k.view.complete,
		Lost:  func(error) { k.view.stop() }, // until the next Begin each key is asked for
	})
}

// take opens one entry of the bucket. What cannot be opened must not go on signing with what was there before.
func (k *Keyring) take(ctx context.Context, entry stream.Entry) {
	key, _, err := stream.ParseEndpointKey(entry.Key)
	if err != nil {
		k.logger.WarnContext(ctx, "foreign entry among the signing keys", slog.Any("error", err))
		k.view.skip(entry.Revision)
		return
	}
	held := opened{revision: entry.Revision, at: entry.Created}
	if entry.Lost {
		held = opened{err: fmt.Errorf("signing keys of %s %w", key, errKeysLost)}
		k.logger.ErrorContext(ctx, "signing keys are gone; deliveries of this endpoint wait", slog.String("endpoint", key.String()), slog.Any("error", held.err))
	}
	if !entry.Removed {
		if held, err = k.open(key, entry); err != nil {
			held = opened{revision: entry.Revision, at: entry.Created, err: err}
			k.logger.ErrorContext(ctx, "signing keys cannot be opened; deliveries of this endpoint wait",
				slog.String("endpoint", key.String()), slog.Any("error", err))
		}
	}
	k.view.put(key, held)
}
