package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/stream"
)

const (
	// authorityName is the stored name of the development authority, the one that `handfast identity create` uses when
	// it is told no other.
	authorityName = "main"
	identityName  = "default"
)

// storeIdentity stores the development authority and the identity that endpoints name by default, and renews that
// identity when it has expired while development was paused: a running dispatcher does so by itself.
func (d *Deployment) storeIdentity(ctx context.Context) error {
	bucket, err := stream.OpenBucket(ctx, d.JS, stream.IdentityBucket, d.options.Logger)
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	main, err := d.storeAuthority(ctx, bucket)
	if err != nil {
		return err
	}
	now := time.Now()
	entry, err := bucket.Get(ctx, identity.RecordKey(identityName))
	var record identity.Record
	switch {
	case errors.Is(err, stream.ErrNoEntry):
		record, err = identity.Create(identityName, main, identity.Profile{URIs: []string{ClientName}}, d.identities, now)
	case err == nil:
		record, err = identity.DecodeRecord(entry.Key, entry.Value)
		if err != nil || !record.Due(now) {
			return err //nolint:wrapcheck // says what and where already
		}
		from, found := main, record.Authority == authorityName
		if !found {
			return nil // the dispatcher knows the others
		}
		record, err = record.Renew(from, d.identities, now)
	}
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	value, err := record.Encode()
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	_, err = bucket.Update(ctx, record.Key(), value, entry.Revision)
	return err //nolint:wrapcheck // says what and where already
}

func (d *Deployment) storeAuthority(ctx context.Context, bucket *stream.Bucket) (identity.Authority, error) {
	entry, err := bucket.Get(ctx, identity.AuthorityKey(authorityName))
	if err == nil {
		return identity.DecodeAuthority(entry.Key, entry.Value) //nolint:wrapcheck // says what and where already
	}
	if !errors.Is(err, stream.ErrNoEntry) {
		return identity.Authority{}, err //nolint:wrapcheck // says what and where already
	}
	text, err := d.CA.Marshal()
	if err != nil {
		return identity.Authority{}, fmt.Errorf("write the development authority: %w", err)
	}
	defer clear(text)
	made, err := identity.ImportAuthority(authorityName, text, d.identities, time.Now())
	if err != nil {
		return identity.Authority{}, err //nolint:wrapcheck // says what and where already
	}
	value, err := made.Encode()
	if err != nil {
		return identity.Authority{}, err //nolint:wrapcheck // says what and where already
	}
	_, err = bucket.Create(ctx, made.Key(), value)
	return made, err //nolint:wrapcheck // says what and where already
}
