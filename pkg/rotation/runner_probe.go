package rotation

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// work probes one endpoint and stores what came of it.
func (r *Runner) work(ctx context.Context, j job) {
	if !r.claim(j.place) {
		return
	}
	var later time.Time
	defer func() { r.release(j.place, later) }()
	// Asked twice: what is not wanted any more must not use up a turn, and the turn may be long in coming.
	if _, _, ok := r.wanted(j); !ok || r.pace.wait(ctx) != nil {
		return
	}
	a, before, ok := r.wanted(j)
	if !ok {
		return
	}
	rotation := a.Rotation
	to := r.probe(ctx, j.key, rotation.To)
	var uses Result
	if NeedsComparison(to) {
		if r.pace.wait(ctx) != nil {
			return
		}
		uses = r.probe(ctx, j.key, a.Uses)
	}
	if ctx.Err() != nil {
		return // what a dispatcher saw while it was stopped says nothing about the receiver
	}
	now := time.Now()
	if current, stillWanted := r.current(j.identity); !stillWanted || current.Rotation.ID != rotation.ID {
		return // paused, rolled back or ended meanwhile: nobody is cut over now
	}
	bucketKey := StatusKey(j.identity, r.board.endpoints.Partition(j.key), j.key)
	status := before.status.of(rotation, j.target.Mark).
		judged(Judge(to, uses, rotation.To, a.Uses), bucketKey, rotation, j.target, now)
	if !r.save(ctx, bucketKey, status, before) {
		later = now.Add(writePause)
		return
	}
	r.logger.LogAttrs(ctx, levelOf(status.Stage), "endpoint was probed with the next identity",
		slog.String("identity", j.identity), slog.String("to", rotation.To), slog.String("endpoint", j.key.String()),
		slog.String("stage", status.Stage.String()), slog.String("reason", status.Reason), slog.String("advice", status.Advice))
}

func levelOf(s Stage) slog.Level {
	if s == Accepted {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// wanted tells whether a job still has to be done, and on what it builds.
func (r *Runner) wanted(j job) (Assignment, entry, bool) {
	a, ok := r.current(j.identity)
	if !ok || !r.owner.Owns(j.key) || r.board.endpoints.Mark(j.key) != j.target.Mark {
		return Assignment{}, entry{}, false
	}
	e := r.board.entry(j.identity, j.key)
	at, open := e.status.of(a.Rotation, j.target.Mark).due(j.target)
	return a, e, open && !at.After(time.Now())
}

// current is the assignment of an identity whose rotation is running.
func (r *Runner) current(identity string) (Assignment, bool) {
	a, _, err := r.board.Assignment(identity)
	return a, err == nil && a.Rotation != nil && a.Rotation.State == Running
}

func (r *Runner) probe(ctx context.Context, key endpoint.Key, identity string) Result {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	return r.prober.Probe(ctx, key, identity)
}

// save stores a status over the entry on which it builds, and tells whether it stands now.
func (r *Runner) save(ctx context.Context, bucketKey string, s Status, before entry) bool {
	value, err := s.Encode()
	if err != nil {
		r.logger.ErrorContext(ctx, "a rotation status is not valid and was not stored: please report this", slog.String("entry", bucketKey), slog.Any("error", err))
		return false
	}
	var revision uint64
	if before.revision == 0 || before.removed {
		revision, err = r.store.Create(ctx, bucketKey, value)
	} else {
		revision, err = r.store.Update(ctx, bucketKey, value, before.revision)
	}
	if err != nil {
		r.lost(ctx, bucketKey, err)
		return false
	}
	if err := r.board.PutStatus(bucketKey, value, revision); err != nil {
		r.logger.ErrorContext(ctx, "a rotation status was stored and cannot be read: please report this", slog.String("entry", bucketKey), slog.Any("error", err))
	}
	return true
}

// lost logs a write that did not happen. A conflict is how several dispatchers get along.
func (r *Runner) lost(ctx context.Context, bucketKey string, err error) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, ErrConflict):
		r.logger.DebugContext(ctx, "another dispatcher was first", slog.String("entry", bucketKey))
	default:
		r.logger.WarnContext(ctx, "cannot store how far a rotation is; trying again", slog.String("entry", bucketKey), slog.Any("error", err))
	}
}
