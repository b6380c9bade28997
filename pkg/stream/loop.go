package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// Wait is how long a pull stays with the broker. Default 5 s. Heartbeats come every fifth of it.
	Wait   time.Duration
	Handle func(jetstream.Msg)
	Logger *slog.Logger
}

// lastMessages is how long a stopping loop takes what the broker has already sent; it is handed to Handle, which a
// stopping service answers with a negative ack.
const lastMessages = 250 * time.Millisecond

// Run pulls until ctx ends. Trouble with the broker is logged and waited out.
func (l *Loop) Run(ctx context.Context) {
	if l.Wait <= 0 {
		l.Wait = 5 * time.Second
	}
	pause := time.Duration(0)
	for ctx.Err() == nil {
		err := l.pull(ctx)
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

func (l *Loop) pull(ctx context.Context) error {
	options := []jetstream.FetchOpt{jetstream.FetchHeartbeat(l.Wait / 5)}
	if l.Priority != nil {
		changed := l.Wake()
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
		return nil // ctx has ended
	}
	defer func() { l.Slots.Release(n) }()
	pulling, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Wait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastMessages, cancel) })
	defer stop()
	batch, err := l.Consumer.Fetch(n, append(options, jetstream.FetchContext(pulling))...)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	for msg := range batch.Messages() {
		n--
		l.Handle(msg)
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}
