package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
)

// maxStatusTries bounds how often a status is read and written again because others were faster. So many of them in a row
// would be a loop somewhere, which an error shows.
const maxStatusTries = 16

// statusPause is how much longer each pause between two tries is: a replica may be read that is behind, and so long as it
// is, every try ends the same way. All tries together take about half a second.
const statusPause = 5 * time.Millisecond

// UpdateStatus changes what the system has decided about an endpoint: it reads the status, lets change alter it, and
// writes it only where nobody has written in the meantime, else it begins again. The facts in a status are separate, and
// several dispatchers find them out at the same time: change must touch none but its own, and may be called more than
// once. What is left as it was is not written.
//
// It returns the status that stands in the bucket afterwards. The error wraps [ErrConflict] when there was no end of
// others' writes.
func (c *Catalogue) UpdateStatus(ctx context.Context, key endpoint.Key, change func(*endpoint.Status)) (endpoint.Status, error) {
	for try := range maxStatusTries {
		if try > 0 {
			select {
			case <-time.After(time.Duration(try) * statusPause):
			case <-ctx.Done():
				return endpoint.Status{}, fmt.Errorf("store status of endpoint %s: %w", key, ctx.Err())
			}
		}
		stood, before, revision, err := c.status(ctx, key)
		if err != nil {
			return endpoint.Status{}, err
		}
		now := stood.Clone()
		change(&now)
		after, err := json.Marshal(now)
		if err != nil {
			return endpoint.Status{}, fmt.Errorf("write status of endpoint %s: %w", key, err)
		}
		if bytes.Equal(after, before) {
			return now, nil
		}
		if err := c.writeStatus(ctx, key, after, revision); !errors.Is(err, ErrConflict) {
			return now, err
		}
	}
	return endpoint.Status{}, fmt.Errorf("store status of endpoint %s after %d tries: %w", key, maxStatusTries, ErrConflict)
}

// status reads what stands, and how it would be written. One that cannot be read counts as none, so that it can be mended
// by writing.
func (c *Catalogue) status(ctx context.Context, key endpoint.Key) (s endpoint.Status, text []byte, revision uint64, err error) {
	entry, err := c.kv.Get(ctx, StatusKey(key, c.partitions))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return endpoint.Status{}, []byte("{}"), 0, nil
	case err != nil:
		return endpoint.Status{}, nil, 0, fmt.Errorf("read status of endpoint %s: %w", key, err)
	}
	if err := json.Unmarshal(entry.Value(), &s); err != nil {
		c.logger.WarnContext(ctx, "unreadable endpoint status; writing a new one", slog.String("endpoint", key.String()), slog.Any("error", err))
		return endpoint.Status{}, nil, entry.Revision(), nil
	}
	text, err = json.Marshal(s)
	if err != nil {
		return endpoint.Status{}, nil, 0, fmt.Errorf("write status of endpoint %s: %w", key, err)
	}
	return s, text, entry.Revision(), nil
}

func (c *Catalogue) writeStatus(ctx context.Context, key endpoint.Key, status []byte, last uint64) error {
	bucket := Bucket{kv: c.kv, logger: c.logger}
	if _, err := bucket.Update(ctx, StatusKey(key, c.partitions), status, last); err != nil {
		return fmt.Errorf("store status of endpoint %s: %w", key, err)
	}
	return nil
}

// Disable notes that the receiver wants nothing more. Applying the document again lifts it; what is noted for a later
// document stays.
func (c *Catalogue) Disable(ctx context.Context, key endpoint.Key, d endpoint.Disabled) error {
	_, err := c.UpdateStatus(ctx, key, func(s *endpoint.Status) {
		if s.Disabled == nil || s.Disabled.Revision < d.Revision {
			s.Disabled = &d
		}
	})
	return err
}

// Hold notes that deliveries must wait until a certificate, or a setting, is mended. A hold that stands already goes on.
// It returns the status that stands afterwards.
func (c *Catalogue) Hold(ctx context.Context, key endpoint.Key, h endpoint.Held) (endpoint.Status, error) {
	return c.UpdateStatus(ctx, key, func(s *endpoint.Status) {
		if s.Held == nil {
			s.Held = &h
		}
	})
}

// Probed notes what the latest probe of a hold has come to. It concerns that hold only, which h.Since names: one that has
// been released in the meantime does not come back, and a newer one is left alone. It returns the status that stands
// afterwards.
func (c *Catalogue) Probed(ctx context.Context, key endpoint.Key, h endpoint.Held) (endpoint.Status, error) {
	return c.UpdateStatus(ctx, key, func(s *endpoint.Status) {
		if s.Held != nil && s.Held.Since.Equal(h.Since) {
			s.Held = &h
		}
	})
}

// Release notes that deliveries can go again.
func (c *Catalogue) Release(ctx context.Context, key endpoint.Key) error {
	_, err := c.UpdateStatus(ctx, key, func(s *endpoint.Status) { s.Held = nil })
	return err
}
