package stream

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// tolerated is how far a clock may be from the broker's without being corrected; the way to the broker takes its time,
	// too.
	tolerated = time.Second
	// worrying is how far apart they are when a person should know.
	worrying = 5 * time.Second
)

// Clock is the broker's, as it is known here. Schedules fire by it: written by the clock of a machine that is wrong, or on
// a broker whose own is, all retries of a delivery would come at once, or none of them for as long as the difference is.
// The zero Clock believes that of this machine.
type Clock struct {
	mu     sync.Mutex
	broker time.Time // at the moment here
	here   time.Time // with the reading of a clock that never steps
}

// informant is a stream of the broker.
type informant interface {
	Info(ctx context.Context, options ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error)
}

// Look asks the broker for its time, and tells a person when the two are far apart.
func (c *Clock) Look(ctx context.Context, of informant, logger *slog.Logger) error {
	began := time.Now()
	info, err := of.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask the broker for its time: %w", err)
	}
	if !info.TimeStamp.IsZero() {
		c.set(info.TimeStamp, began.Add(time.Since(began)/2))
	}
	if ahead := c.Ahead(); ahead.Abs() >= worrying {
		logger.WarnContext(ctx, "the clock of this machine and that of NATS differ; set both by NTP. Retries come by that of NATS, but signatures carry the time of the signer's machine, and receivers refuse what is minutes off",
			slog.Duration("ahead_of_nats", ahead.Round(time.Millisecond)))
	}
	return nil
}

func (c *Clock) set(broker, here time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broker, c.here = broker, here
}

// now is the broker's time, and whether it is known.
func (c *Clock) now() (now time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broker.Add(time.Since(c.here)), !c.broker.IsZero()
}

// Ahead is how far the clock on this machine's wall is ahead of the broker's; negative when it is behind.
func (c *Clock) Ahead() time.Duration {
	broker, known := c.now()
	if !known {
		return 0
	}
	return time.Now().Round(0).Sub(broker)
}

// At is by the broker's clock what local, an instant that was reckoned from [time.Now], is here.
func (c *Clock) At(local time.Time) time.Time {
	broker, known := c.now()
	if !known || c.Ahead().Abs() < tolerated {
		return local
	}
	return broker.Add(time.Until(local))
}
