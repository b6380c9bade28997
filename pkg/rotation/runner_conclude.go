package rotation

import (
	"context"
	"log/slog"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// conclude stores the falls that this dispatcher saw and, if it leads, ends rotations, until ctx ends.
func (r *Runner) conclude(ctx context.Context) {
	look := time.NewTimer(0)
	defer look.Stop()
	var changed, moved <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			changed = nil
			look.Reset(gather)
		case <-moved:
			moved = nil
			look.Reset(gather)
		case <-look.C:
			changed, moved = r.board.Changed(), r.owner.Changed()
			look.Reset(r.settleAll(ctx))
		}
	}
}

// settleAll looks at every rotation once and tells when to look again.
func (r *Runner) settleAll(ctx context.Context) (wait time.Duration) {
	wait = lookAgain
	for _, h := range r.board.rotating() {
		if !r.saveFalls(ctx, h.assignment.Name) {
			wait = min(wait, writePause)
		}
		if r.owner.Leads() {
			wait = min(wait, r.end(ctx, h))
		}
	}
	return wait
}

// saveFalls stores what this dispatcher alone knows about an identity's endpoints, and tells whether all of it stands.
func (r *Runner) saveFalls(ctx context.Context, name string) bool {
	all := true
	for _, f := range r.board.falls(name) {
		if !r.save(ctx, StatusKey(name, r.board.endpoints.Partition(f.key), f.key), f.entry.status, f.entry) {
			all = false
			continue
		}
		r.fallen(ctx, name, f.key, f.entry.status)
	}
	return all
}

func (r *Runner) fallen(ctx context.Context, name string, key endpoint.Key, s Status) {
	r.logger.WarnContext(ctx, "endpoint refused the next identity after it had accepted it; it gets the current one again",
		slog.String("identity", name), slog.String("endpoint", key.String()), slog.Int("falls", s.Falls),
		slog.String("reason", s.Reason), slog.String("advice", s.Advice), slog.Time("next_probe", s.NextProbe))
}

// complete tells whether a rotation can end at now; if only time is missing, when it can.
func (r *Runner) complete(a Assignment, now time.Time) (done bool, at time.Time) {
	live := r.board.endpoints.Live(a.Name)
	for _, t := range live {
		// The usual case, found out without counting everything.
		if r.board.entry(a.Name, t.Key).status.of(a.Rotation, t.Mark).Stage != Accepted {
			return false, time.Time{}
		}
	}
	return Measure(a, r.board.statuses(a.Name), live).complete(now, r.settle)
}

// end ends a rotation whose time has come, by one write of one entry, and tells when to look again.
func (r *Runner) end(ctx context.Context, h held) (wait time.Duration) {
	a, now := h.assignment, time.Now()
	how := RolledBack
	if a.Rotation.State != RollingBack {
		done, at := r.complete(a, now)
		switch {
		case !done && at.IsZero():
			return lookAgain
		case !done:
			return at.Sub(now)
		}
		how = Completed
	}
	ended := a.end(how, now)
	bucketKey := AssignmentKey(a.Name)
	value, err := ended.Encode()
	if err != nil {
		r.logger.ErrorContext(ctx, "the end of a rotation is not valid and was not stored: please report this", slog.String("entry", bucketKey), slog.Any("error", err))
		return lookAgain
	}
	revision, err := r.store.Update(ctx, bucketKey, value, h.revision)
	if err != nil {
		r.lost(ctx, bucketKey, err)
		return writePause
	}
	if err := r.board.PutAssignment(bucketKey, value, revision); err != nil {
		r.logger.ErrorContext(ctx, "an assignment was stored and cannot be read: please report this", slog.String("entry", bucketKey), slog.Any("error", err))
	}
	r.logger.InfoContext(ctx, "a rotation has ended", slog.String("identity", a.Name), slog.String("how", how.String()),
		slog.String("from", a.Uses), slog.String("to", a.Rotation.To), slog.String("uses", ended.Uses))
	return lookAgain
}
