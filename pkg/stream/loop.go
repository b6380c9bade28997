package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Loop pulls one consumer by Fetch, batch after batch. It only hands messages on: Handle must not block, and owns one
// reserved slot for each message that it is given.
type Loop struct {
	Consumer jetstream.Consumer
	// Priority is the rank with which a partition is pulled; nil for a consumer without a priority group. A negative
	// rank pauses the loop until Wake.
	Priority func() int
	// Wake tells that Priority may have changed.
	Wake  func() <-chan struct{}
	Slots *Slots
	// Batch is the most messages of one pull.
	Batch int
	// Wait is how long a pull stays with the broker: 30 s, the client library's own, unless it is longer, which only
	// virtual time has a use for.
	Wait time.Duration
	// Handle gets the messages of one pull in order. After a change of priority two pulls may hand on side by side.
	Handle func(jetstream.Msg)
	Logger *slog.Logger
}

const (
	// shortestWait is what the client library asks for by itself. A shorter one would need a deadline in the context of
	// the pull, and messages that arrive together with that deadline are lost to sight until AckWait.
	shortestWait = 30 * time.Second
	// heartbeat is short enough to notice a broker that is gone, and long enough that a process without CPU for some
	// seconds does not take its broker for dead.
	heartbeat = 5 * time.Second
	// lastMessages is how long a stopping loop takes what the broker has already sent; it is handed to Handle, which a
	// stopping service answers with a negative ack.
	lastMessages = 250 * time.Millisecond
)

// Run pulls until ctx ends. Trouble with the broker is logged and waited out.
func (l *Loop) Run(ctx context.Context) {
	pulls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastMessages, cancel) })
	var rest sync.WaitGroup
	defer rest.Wait()
	defer func() {
		if stop() {
			cancel()
		}
	}()
	pause := time.Duration(0)
	for ctx.Err() == nil {
		err := l.pull(ctx, pulls, &rest)
		if err == nil || ctx.Err() != nil {
			pause = 0
			continue
		}
		pause = min(max(2*pause, 100*time.Millisecond), 5*time.Second)
		l.Logger.WarnContext(ctx, "cannot pull messages; trying again",
			slog.String("consumer", l.Consumer.CachedInfo().Name), slog.Duration("pause", pause), slog.Any("error", err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (l *Loop) pull(ctx, pulls context.Context, rest *sync.WaitGroup) error {
	options := []jetstream.FetchOpt{jetstream.FetchHeartbeat(max(heartbeat, l.Wait/4))}
	var changed <-chan struct{}
	if l.Priority != nil {
		changed = l.Wake()
		rank := l.Priority()
		if rank < 0 {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			return nil
		}
		options = append(options, jetstream.FetchPriorityGroup(PriorityGroup), jetstream.FetchPrioritized(uint8(rank))) //nolint:gosec // 0 to 2
	}
	n, err := l.Slots.Reserve(ctx, l.Batch)
	if err != nil {
		return err // ctx has ended, and Run with it
	}
	cancel := context.CancelFunc(func() {})
	if l.Wait > shortestWait {
		pulls, cancel = context.WithTimeout(pulls, l.Wait)
	}
	batch, err := l.Consumer.Fetch(n, append(options, jetstream.FetchContext(pulls))...)
	if err != nil {
		cancel()
		l.Slots.Release(n)
		return fmt.Errorf("fetch: %w", err)
	}
	finish := func() error {
		defer cancel()
		for msg := range batch.Messages() {
			n--
			l.Handle(msg)
		}
		l.Slots.Release(n)
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("fetch: %w", err)
		}
		return nil
	}
	if changed == nil {
		return finish()
	}
	// A pull cannot be called back without losing sight of what the broker is sending on it. When the priority changes,
	// the old pull comes to its end in the background, and the next one begins beside it.
	done := make(chan error, 1)
	rest.Go(func() { done <- finish() })
	select {
	case err := <-done:
		return err
	case <-changed:
		return nil
	}
}
