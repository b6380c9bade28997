package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Catalogue is the bucket of endpoints as services see it: documents written by operators, status written by
// dispatchers.
type Catalogue struct {
	kv         jetstream.KeyValue
	partitions int
	logger     *slog.Logger
	// Changed, when set before Follow, is told about each document and each status that has come into force or was
	// deleted, with the revision of the entry that says so. It must not block.
	Changed func(key endpoint.Key, revision uint64)
	// Poll is that of a [Bucket], set before Follow.
	Poll time.Duration

	js    jetstream.JetStream
	known *certainty
}

// OpenCatalogue binds to the bucket.
func (t Topology) OpenCatalogue(ctx context.Context, js jetstream.JetStream, logger *slog.Logger) (*Catalogue, error) {
	kv, err := js.KeyValue(ctx, EndpointBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", EndpointBucket, err)
	}
	return &Catalogue{kv: kv, js: js, partitions: t.Partitions, logger: logger, known: newCertainty()}, nil
}

// Apply stores an endpoint's document and returns its revision.
func (c *Catalogue) Apply(ctx context.Context, e *endpoint.Endpoint) (revision uint64, err error) {
	document, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	revision, err = c.kv.Put(ctx, EndpointKey(e.Key(), c.partitions), document)
	if err != nil {
		return 0, fmt.Errorf("store endpoint %s: %w", e.Key(), err)
	}
	return revision, nil
}

// Delete removes an endpoint and what was found out about it.
func (c *Catalogue) Delete(ctx context.Context, key endpoint.Key) error {
	if err := c.kv.Delete(ctx, EndpointKey(key, c.partitions)); err != nil {
		return fmt.Errorf("delete endpoint %s: %w", key, err)
	}
	if err := c.kv.Delete(ctx, StatusKey(key, c.partitions)); err != nil {
		return fmt.Errorf("delete status of endpoint %s: %w", key, err)
	}
	return nil
}

// ErrNoEndpoint says that no such endpoint is stored.
var ErrNoEndpoint = errors.New("no such endpoint")

// Get reads one document straight from the broker, for a service that has not seen it yet. The error wraps
// [ErrNoEndpoint] when there is none.
func (c *Catalogue) Get(ctx context.Context, key endpoint.Key) (*endpoint.Endpoint, uint64, error) {
	entry, err := c.kv.Get(ctx, EndpointKey(key, c.partitions))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, fmt.Errorf("%w: %s", ErrNoEndpoint, key)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read endpoint %s: %w", key, err)
	}
	e, err := endpoint.Restore(entry.Value())
	if err != nil {
		return nil, 0, fmt.Errorf("stored endpoint %s: %w", key, err)
	}
	if e.Key() != key {
		return nil, 0, fmt.Errorf("stored endpoint %s holds the document of %s; apply both again", key, e.Key())
	}
	return e, entry.Revision(), nil
}

// Lookup reads a document and what was found out about its endpoint. The error wraps [ErrNoEndpoint] when there is none.
func (c *Catalogue) Lookup(ctx context.Context, key endpoint.Key) (endpoint.Registered, error) {
	e, revision, err := c.Get(ctx, key)
	if err != nil {
		return endpoint.Registered{}, err
	}
	found := endpoint.Registered{Endpoint: e, Revision: revision}
	entry, err := c.kv.Get(ctx, StatusKey(key, c.partitions))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return found, nil
	case err != nil:
		return endpoint.Registered{}, fmt.Errorf("read status of endpoint %s: %w", key, err)
	}
	if err := json.Unmarshal(entry.Value(), &found.Status); err != nil {
		return endpoint.Registered{}, fmt.Errorf("stored status of endpoint %s: %w", key, err)
	}
	return found, nil
}

// Follow keeps a registry equal to the bucket until ctx ends. ready is called once, when everything that was stored at
// the start has been read. Without NATS it stays as it is.
func (c *Catalogue) Follow(ctx context.Context, registry *endpoint.Registry, ready func()) {
	bucket := Bucket{kv: c.kv, js: c.js, logger: c.logger, Poll: c.Poll}
	first := once(ready)
	bucket.Watch(ctx, Watch{
		Begin: c.known.begin,
		Take: func(e Entry) {
			c.take(ctx, registry, e)
			c.known.came(e.Revision)
		},
		Ready: func(revision uint64) {
			c.known.ready(revision)
			first(revision)
		},
		Lost: c.known.lost,
	})
}

func (c *Catalogue) take(ctx context.Context, registry *endpoint.Registry, entry Entry) {
	key, status, err := ParseEndpointKey(entry.Key)
	if err != nil {
		c.logger.WarnContext(ctx, "foreign entry among the endpoints", slog.Any("error", err))
		return
	}
	place := EndpointKey(key, c.partitions)
	if status {
		place += statusSuffix
	}
	if entry.Key != place {
		c.logger.WarnContext(ctx, "entry among the endpoints stands in the wrong partition and is ignored",
			slog.String("entry", entry.Key), slog.String("right", place))
		return
	}
	switch {
	case entry.Lost && !status:
		if registry.Lose(key) {
			c.logger.ErrorContext(ctx, "the document of an endpoint was lost with its bucket; it stays in force in this process until it ends: apply its document again, or delete it",
				slog.String("endpoint", key.String()))
		}
	case status:
		var s endpoint.Status
		if !entry.Removed {
			if err := json.Unmarshal(entry.Value, &s); err != nil {
				c.logger.WarnContext(ctx, "unreadable endpoint status", slog.String("endpoint", key.String()), slog.Any("error", err))
				return
			}
		}
		registry.SetStatus(key, s)
		c.changed(key, entry.Revision)
	case entry.Removed:
		registry.Delete(key)
		c.changed(key, entry.Revision)
	default:
		e, err := endpoint.Restore(entry.Value)
		if err != nil {
			// The last good document stays in force: a bad one must not stop deliveries.
			c.logger.ErrorContext(ctx, "stored endpoint document is not valid; the one before stays in force",
				slog.String("endpoint", key.String()), slog.Any("error", err))
			return
		}
		if e.Key() != key {
			// Whoever may write one tenant's entries must not reach another's by the document inside.
			c.logger.ErrorContext(ctx, "endpoint document stands in a foreign place and is ignored",
				slog.String("endpoint", e.Key().String()), slog.String("entry", entry.Key))
			return
		}
		registry.Put(e, entry.Revision)
		c.changed(key, entry.Revision)
	}
}

func (c *Catalogue) changed(key endpoint.Key, revision uint64) {
	if c.Changed != nil {
		c.Changed(key, revision)
	}
}
