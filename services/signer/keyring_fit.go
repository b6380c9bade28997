package signer

import (
	"context"
	"errors"
	"fmt"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
)

// Impediment says why nothing is signed although this signer runs: its master key opens none of the keys that are stored.
// It is nil when one opens, when there are none, and while not all of them have been read.
func (s *Signer) Impediment() error {
	closed, whole := s.keyring.view.closed()
	if closed == nil || !whole {
		return nil
	}
	return fmt.Errorf("this signer's master key opens none of the signing keys, so it signs nothing, and deliveries wait; give it the one of the other signers: %w", closed)
}

// fits refuses to make keys with a master key that opens nothing of what is stored: this signer was given the wrong one,
// and no other signer could open what it makes. Where nothing is stored yet, any master key is the right one.
func (k *Keyring) fits(ctx context.Context, key endpoint.Key) error {
	closed, whole := k.view.closed()
	if !whole {
		var err error
		if closed, err = k.closed(ctx); err != nil {
			return err
		}
	}
	if closed != nil {
		return fmt.Errorf("no signing keys are made for %s, because this signer's master key opens nothing of what is stored; give it the one of the other signers: %w", key, closed)
	}
	return nil
}

// closed is why every ring stays closed, when that is for want of its master key; nil when one is open, or there is none.
func (v *view) closed() (closed error, whole bool) { //nolint:revive // the error is what is asked for
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, held := range v.rings {
		switch {
		case errors.Is(held.err, signature.ErrWrongMasterKey):
			closed = held.err
		case held.err == nil && len(held.ring.Keys()) > 0:
			return nil, v.whole
		}
	}
	return closed, v.whole
}

// closed asks the bucket, for as long as not everything of it is known.
func (k *Keyring) closed(ctx context.Context) (closed, err error) {
	entries, err := k.bucket.List(ctx, "*.*.*")
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	for _, e := range entries {
		key, _, err := stream.ParseEndpointKey(e.Key)
		if err != nil {
			continue
		}
		switch _, err := k.open(key, e); {
		case err == nil:
			return nil, nil
		case errors.Is(err, signature.ErrWrongMasterKey):
			closed = err
		}
	}
	return closed, nil
}
