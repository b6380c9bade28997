package signer

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
)

const (
	// lookAhead is how old the last look may be, from an event's point of view, before another is begun in the background.
	lookAhead = schema.Delay / 2
	// lookMargin is taken off the time that the broker tells: it counts entries a moment before it looks at its clock.
	lookMargin = 20 * time.Millisecond
)

// Schemas is the bucket of event schemas as a signer follows it.
//
// An event is checked only when everything is known that can be in force for it: every entry that was stored more than
// [schema.Delay] before the event. Times are the broker's, so that clocks of other machines do not matter.
type Schemas struct {
	bucket   *stream.Bucket
	js       jetstream.JetStream
	logger   *slog.Logger
	registry schema.Registry

	// confirmed is, in nanoseconds, the latest instant of which we know that everything stored before it is in registry.
	confirmed atomic.Int64
	looking   atomic.Bool
	loaded    atomic.Bool
	turn      chan struct{} // held by the event that looks while others wait for what it finds

	mu    sync.Mutex
	seen  uint64        // the revision up to which the bucket has come in
	made  time.Time     // when that bucket was made
	moved chan struct{} // closed when seen or made change
}

// OpenSchemas binds to the bucket. Nothing is read yet.
func OpenSchemas(ctx context.Context, js jetstream.JetStream, logger *slog.Logger) (*Schemas, error) {
	bucket, err := stream.OpenBucket(ctx, js, stream.SchemaBucket, logger)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and what to do
	}
	return &Schemas{bucket: bucket, js: js, logger: logger, turn: make(chan struct{}, 1), moved: make(chan struct{})}, nil
}

// Follow keeps what is known equal to the bucket until ctx ends. ready is called once, when it has been read.
func (s *Schemas) Follow(ctx context.Context, ready func()) {
	var first sync.Once
	s.bucket.Watch(ctx, stream.Watch{
		Begin: func(made time.Time) { s.advance(0, made) },
		Take: func(e stream.Entry) {
			s.take(ctx, e)
			s.advance(e.Revision, time.Time{})
		},
		Ready: func(revision uint64) {
			s.advance(revision, time.Time{})
			s.loaded.Store(true)
			first.Do(ready)
		},
		// What is known stays; an event that needs more waits, because no look reaches its mark.
		Lost: func(error) { s.advance(0, time.Unix(0, 0)) },
	})
}

// advance notes how far the bucket has come in. A bucket that begins anew takes certainty away.
func (s *Schemas) advance(revision uint64, made time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !made.IsZero() {
		s.made, s.seen = made, 0
		s.confirmed.Store(0)
	}
	s.seen = max(s.seen, revision)
	close(s.moved)
	s.moved = make(chan struct{})
}

// take puts one entry into the registry.
func (s *Schemas) take(ctx context.Context, e stream.Entry) {
	name, retired, err := schema.ParseKey(e.Key)
	switch {
	case err != nil:
		s.logger.WarnContext(ctx, "foreign entry among the schemas", slog.Any("error", err))
	case e.Lost:
		s.logger.ErrorContext(ctx, "a schema was lost with its bucket; it stays in force in this process until it ends: apply it again",
			slog.String("tenant", name.Tenant), slog.String("type", name.Type), slog.Int("version", name.Number), slog.Bool("deletion", retired))
	case retired && e.Removed:
		s.registry.Retire(name, time.Time{})
	case retired:
		s.registry.SetRetirement(name, schema.ReadRetirement(e.Value, e.Created))
	case e.Removed:
		s.registry.Remove(name)
	default:
		v := schema.Read(name, e.Value, e.Created)
		s.registry.Put(v)
		if err := v.Problem(); err != nil {
			s.logger.ErrorContext(ctx, "a stored schema cannot be used; events that it is for wait until it is deleted or mended",
				slog.String("tenant", name.Tenant), slog.String("type", name.Type), slog.Int("version", name.Number), slog.Any("error", err))
		}
	}
}

// sure makes certain that everything is known that can be in force for an event that was stored at a time.
func (s *Schemas) sure(ctx context.Context, at time.Time) error {
	need := at.Add(-schema.Delay).UnixNano()
	confirmed := s.confirmed.Load()
	if confirmed >= need {
		if confirmed < need+int64(lookAhead) && s.looking.CompareAndSwap(false, true) {
			go func() {
				defer s.looking.Store(false)
				_ = s.look(context.WithoutCancel(ctx)) // whoever needs it looks for himself
			}()
		}
		return nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("the schemas of events cannot be read, so that events wait: %w", ctx.Err())
	}
	if s.confirmed.Load() >= need {
		return nil // somebody has looked meanwhile
	}
	if err := s.look(ctx); err != nil {
		return fmt.Errorf("the schemas of events cannot be read, so that events wait: %w", err)
	}
	if s.confirmed.Load() < need {
		return fmt.Errorf("the broker's clock is behind the time of an event, %s; it is looked at again", at.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// look asks how far the bucket is, and waits until all of that has come in.
func (s *Schemas) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	held, err := s.js.Stream(ctx, "KV_"+stream.SchemaBucket)
	if err != nil {
		return fmt.Errorf("look at bucket %s: %w", stream.SchemaBucket, err)
	}
	info := held.CachedInfo()
	for {
		s.mu.Lock()
		there, moved := s.seen >= info.State.LastSeq && s.made.Equal(info.Created) && s.loaded.Load(), s.moved
		if there {
			s.confirmed.Store(max(s.confirmed.Load(), info.TimeStamp.Add(-lookMargin).UnixNano()))
		}
		s.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("bucket %s has entries that have not come in yet: %w", stream.SchemaBucket, ctx.Err())
		}
	}
}

// schemaAge is for how long a schema may be kept by whoever has read it: it never changes.
const schemaAge = "max-age=86400, immutable"

// ServeSchema answers with the schema that the path names in {tenant}, {type} and {version}. It never changes, and is
// shown also after it was deleted: deliveries of before name it. It needs no authentication, and does none.
func (s *Schemas) ServeSchema(w http.ResponseWriter, r *http.Request) {
	if !s.loaded.Load() {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the schemas cannot be read at the moment; ask again", http.StatusServiceUnavailable)
		return
	}
	number, err := schema.ParseNumber(r.PathValue("version"))
	v := s.registry.Set(schema.Kind{Tenant: r.PathValue("tenant"), Type: r.PathValue("type")}).Version(number)
	if err != nil || v == nil || v.Problem() != nil {
		w.Header().Set("Cache-Control", "no-store") // it may be applied in a moment
		http.Error(w, "there is no such version of a schema", http.StatusNotFound)
		return
	}
	answerFor(w, r, "application/schema+json", schemaAge, v.Document())
}

// ServeSchema is [Schemas.ServeSchema] of what this signer knows.
func (s *Signer) ServeSchema(w http.ResponseWriter, r *http.Request) {
	s.schemas.ServeSchema(w, r)
}
