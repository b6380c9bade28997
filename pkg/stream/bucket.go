package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is one key-value bucket as services use it: compare-and-set writes, and following what others write.
type Bucket struct {
	kv     jetstream.KeyValue
	js     jetstream.JetStream
	logger *slog.Logger
	// Poll is how often followers look for changes of which they were not told, set before Follow or Watch. Default
	// 500 ms; a longer time is for virtual time only.
	Poll time.Duration
}

// Entry is one value of a bucket.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	// Created is when this revision was written; zero for one that is gone without a trace.
	Created time.Time
	// Removed tells that the key is gone; there is no value then.
	Removed bool
	// Lost tells, beside Removed, that nobody has removed it: its bucket was made again, or restored, without this
	// revision. What comes next for the key may have a lower one.
	Lost bool
}

// Errors of a bucket that a caller decides on.
var (
	// ErrNoEntry says that the bucket does not hold the key.
	ErrNoEntry = errors.New("no such entry")
	// ErrConflict says that somebody else has written the key in the meantime: read it again.
	ErrConflict = errors.New("somebody else has written it in the meantime")
)

// OpenBucket binds to a bucket that `handfast topology apply` has made.
func OpenBucket(ctx context.Context, js jetstream.JetStream, name string, logger *slog.Logger) (*Bucket, error) {
	kv, err := js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("open bucket %s: %w; an older version may have made the topology: run `handfast topology apply`", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Bucket{kv: kv, js: js, logger: logger}, nil
}

// Get reads one entry. The error wraps [ErrNoEntry] when there is none.
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	entry, err := b.kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Entry{}, fmt.Errorf("%w: %s in bucket %s", ErrNoEntry, key, b.kv.Bucket())
	case err != nil:
		return Entry{}, fmt.Errorf("read %s in bucket %s: %w", key, b.kv.Bucket(), err)
	}
	return Entry{Key: key, Value: entry.Value(), Revision: entry.Revision(), Created: entry.Created()}, nil
}

// Create writes an entry that must not exist yet. The error wraps [ErrConflict] when it does.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	revision, err = b.kv.Create(ctx, key, value)
	return revision, b.written(key, err)
}

// Update writes an entry that must still be at the revision last; 0 stands for one that must not exist. The error wraps
// [ErrConflict] when it is not.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, last uint64) (revision uint64, err error) {
	if last == 0 {
		return b.Create(ctx, key, value)
	}
	revision, err = b.kv.Update(ctx, key, value, last)
	return revision, b.written(key, err)
}

func (b *Bucket) written(key string, err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return fmt.Errorf("%s in bucket %s: %w", key, b.kv.Bucket(), ErrConflict)
	}
	return fmt.Errorf("write %s in bucket %s: %w", key, b.kv.Bucket(), err)
}

// Delete removes an entry; one that does not exist is no error.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := b.kv.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete %s in bucket %s: %w", key, b.kv.Bucket(), err)
	}
	return nil
}

// List reads every entry whose key matches the filter, in the order in which they were written.
func (b *Bucket) List(ctx context.Context, filter string) ([]Entry, error) {
	r := reader{nc: b.js.Conn(), bucket: b.kv.Bucket()}
	var all []Entry
	for next, more := uint64(1), true; more; {
		page, err := r.read(ctx, next, filter)
		if err != nil {
			return nil, err
		}
		for _, entry := range page.entries {
			next = entry.Revision + 1
		}
		all = append(all, page.entries...)
		more = page.more
	}
	return latest(all), nil
}

// latest leaves out what is gone, and what was written again while the list was read.
func latest(all []Entry) []Entry {
	last := make(map[string]uint64, len(all))
	for _, entry := range all {
		last[entry.Key] = entry.Revision
	}
	return slices.DeleteFunc(all, func(e Entry) bool { return e.Removed || last[e.Key] != e.Revision })
}

// Follow hands on every entry that stands in the bucket, and then every change, one call at a time, until ctx ends.
// ready is called once, when what stood there at the start has been handed on. Trouble with the broker is logged and
// waited out, and then what has changed meanwhile is handed on.
func (b *Bucket) Follow(ctx context.Context, take func(Entry), ready func()) {
	b.Watch(ctx, Watch{Take: take, Ready: once(ready)})
}

// once turns a function that may be missing into one that is called at the first time only.
func once(ready func()) func(uint64) {
	return func(uint64) {
		if ready != nil {
			ready()
			ready = nil
		}
	}
}

// Watch is Follow for those who have to know how sure they can be.
func (b *Bucket) Watch(ctx context.Context, w Watch) {
	f := follower{reader: reader{nc: b.js.Conn(), bucket: b.kv.Bucket()}, js: b.js, poll: b.Poll, watch: w}
	if f.poll <= 0 {
		f.poll = pollInterval
	}
	f.run(ctx, b.logger)
}
