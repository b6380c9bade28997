package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/receiver"
)

// Store is a [receiver.Store]. Make it with [New].
type Store struct {
	bucket jetstream.KeyValue
	ttl    time.Duration
}

// New returns a store in the bucket, which needs a TTL. It asks the bucket for its configuration once.
func New(ctx context.Context, bucket jetstream.KeyValue) (*Store, error) {
	if bucket == nil {
		return nil, errors.New("NATS store: the bucket is missing")
	}
	status, err := bucket.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("NATS store: look at bucket %s: %w", bucket.Bucket(), err)
	}
	if status.TTL() <= 0 {
		return nil, fmt.Errorf("NATS store: bucket %s has no TTL, so it would grow for ever; give it one of at least the receiver's Remember", bucket.Bucket())
	}
	return &Store{bucket: bucket, ttl: status.TTL()}, nil
}

// Get implements [receiver.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	entry, err := s.entry(ctx, key)
	if err != nil || entry == nil {
		return nil, err
	}
	return entry.Value(), nil
}

func (s *Store) entry(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	entry, err := s.bucket.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil //nolint:nilnil // nothing there, and nothing wrong
	}
	if err != nil {
		return nil, fmt.Errorf("NATS store: read: %w", err)
	}
	return entry, nil
}

// Swap implements [receiver.Store]. It refuses a value that is needed for longer than the bucket's TTL.
func (s *Store) Swap(ctx context.Context, key string, old, value []byte, keep receiver.Keep) (bool, error) {
	if keep.Needed > s.ttl {
		return false, fmt.Errorf("NATS store: bucket %s forgets after %s, but this has to stay for %s; give it a longer TTL", s.bucket.Bucket(), s.ttl, keep.Needed.Round(time.Second))
	}
	if old == nil {
		_, err := s.bucket.Create(ctx, key, value)
		return written(err)
	}
	entry, err := s.entry(ctx, key)
	if err != nil || entry == nil || !bytes.Equal(entry.Value(), old) {
		return false, err
	}
	_, err = s.bucket.Update(ctx, key, value, entry.Revision())
	return written(err)
}

// written tells a lost race, after which nothing was changed, from a failure.
func written(err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return false, nil
	}
	return false, fmt.Errorf("NATS store: write: %w", err)
}
