package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Work is a service that has been bound to what it needs. Run works until its context ends, drains and returns.
type Work interface {
	Run(ctx context.Context) error
	Ready() bool
}

// impeded is work that runs and may still get nothing done.
type impeded interface {
	// Impediment says why nothing gets done, and what to do; nil when nothing is in the way.
	Impediment() error
}

// Keeper starts the work when it can be done, and starts it again when the streams went away and came back. Its zero
// value is not usable: all fields are required, but for those with a default.
type Keeper struct {
	NATS *nats.Conn
	// Servers names NATS for people.
	Servers string
	// Start binds the work; its error is told and the start tried again.
	Start func(ctx context.Context) (Work, error)
	// Probe looks whether the streams still are what the work was bound to.
	Probe func(ctx context.Context) error
	// Trouble looks for what keeps the work from being done although it goes on, and goes on by itself when that is
	// gone: Ready tells of it meanwhile. Optional.
	Trouble func(ctx context.Context) error
	Logger  *slog.Logger
	// Pause between two tries. Default 2 s.
	Pause time.Duration
	// Interval between two probes. Default 5 s.
	Interval time.Duration

	mu      sync.Mutex
	work    Work
	reason  error
	trouble error
}

var (
	errNotStarted = errors.New("starting")
	errStopping   = errors.New("stopping")
	errReading    = errors.New("the endpoints are being read")
)

// bindTime bounds one start and one probe.
const bindTime = 15 * time.Second

// Ready says why no work is done at the moment; nil when it is.
func (k *Keeper) Ready() error {
	if err := k.connected(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.reason != nil:
		return k.reason
	case k.work == nil:
		return errNotStarted
	case !k.work.Ready():
		return errReading
	}
	if k.trouble != nil {
		return k.trouble
	}
	if work, ok := k.work.(impeded); ok {
		return work.Impediment() //nolint:wrapcheck // says what and what to do
	}
	return nil
}

func (k *Keeper) connected() error {
	if k.NATS.IsConnected() {
		return nil
	}
	why := ""
	if err := k.NATS.LastError(); err != nil {
		why = ": " + err.Error()
	}
	return fmt.Errorf("no connection to NATS at %s%s", k.Servers, why)
}

func (k *Keeper) set(work Work, reason error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.work, k.reason, k.trouble = work, reason, nil
}

// Run keeps the work going until ctx ends, and lets it drain then. It returns an error only when the work ended by
// itself with one.
func (k *Keeper) Run(ctx context.Context) error {
	if k.Pause <= 0 {
		k.Pause = 2 * time.Second
	}
	if k.Interval <= 0 {
		k.Interval = 5 * time.Second
	}
	for ctx.Err() == nil {
		work := k.bind(ctx)
		if work == nil {
			break
		}
		if err := k.keep(ctx, work); err != nil {
			return err
		}
	}
	k.set(nil, errStopping)
	return nil
}

// bind tries until the work is bound, or ctx ends: then the result is nil.
func (k *Keeper) bind(ctx context.Context) Work {
	var told string
	for ctx.Err() == nil {
		work, err := k.try(ctx)
		if err == nil {
			k.set(work, nil)
			return work
		}
		k.set(nil, err)
		if text := err.Error(); text != told && ctx.Err() == nil {
			told = text
			k.Logger.WarnContext(ctx, "cannot start yet; trying on", slog.Any("error", err))
		}
		pause(ctx, k.Pause)
	}
	return nil
}

func (k *Keeper) try(ctx context.Context) (Work, error) {
	if err := k.connected(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bindTime)
	defer cancel()
	work, err := k.Start(ctx)
	return work, k.explain(err)
}

// explain adds what NATS refused: it tells of a missing permission beside a request, which itself only times out.
func (k *Keeper) explain(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if refused := k.NATS.LastError(); errors.Is(refused, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w; NATS refused: %w; give this user the permissions that it has in deploy/nats/handfast.conf", err, refused)
	}
	return err
}

// keep runs the work until ctx ends, or until what it was bound to has gone.
func (k *Keeper) keep(ctx context.Context, work Work) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- work.Run(running) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			k.set(nil, errStopping)
			return <-ended
		case <-time.After(k.Interval):
		}
		if err := k.probe(ctx); err != nil && ctx.Err() == nil {
			k.Logger.ErrorContext(ctx, "what this service works on is no longer there; it stops, and starts again when it is back", slog.Any("error", err))
			k.set(nil, err)
			stop()
			return <-ended
		}
		k.look(ctx)
	}
}

// look tells of trouble when it begins and when it ends, and has Ready tell of it between.
func (k *Keeper) look(ctx context.Context) {
	if k.Trouble == nil || !k.NATS.IsConnected() {
		return
	}
	asking, cancel := context.WithTimeout(ctx, bindTime)
	defer cancel()
	err := k.Trouble(asking)
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	before := k.trouble
	k.trouble = err
	k.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		k.Logger.ErrorContext(ctx, "work waits for something that is missing; it goes on when that is back", slog.Any("error", err))
	case err == nil && before != nil:
		k.Logger.InfoContext(ctx, "what was missing is back", slog.String("missing", before.Error()))
	}
}

// probe tells of streams that have gone. A server that does not answer is no reason to stop: its streams come back with
// it, and the work waits for them.
func (k *Keeper) probe(ctx context.Context) error {
	if !k.NATS.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, bindTime)
	defer cancel()
	return k.Probe(ctx)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
