package stream

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// inForce is within what time a document is in force everywhere.
	inForce = time.Second
	// lookAhead is how long before a look is too old the next one is begun in the background.
	lookAhead = inForce / 2
	// lookMargin is taken off the time that the broker tells: it counts entries a moment before it looks at its clock.
	lookMargin = 20 * time.Millisecond
	// lookTime bounds one look.
	lookTime = 2 * time.Second
)

// certainty is how far what a follower has handed on is known to be complete. A process that has stood still, or whose
// news is late, finds an event and the document for it at the same moment, and must not take the event first. All times
// are the broker's, so that clocks of other machines do not matter.
type certainty struct {
	mu        sync.Mutex
	seen      uint64    // the revision up to which entries have come in
	made      time.Time // when their bucket was made
	whole     bool      // all that stood there at the beginning has come in
	confirmed time.Time // everything that was stored before is known
	looking   bool
	moved     chan struct{} // closed when one of them changes; nil while nobody waits
	turn      chan struct{} // held by the one who looks while others wait for what he finds
}

func newCertainty() *certainty { return &certainty{turn: make(chan struct{}, 1)} }

// change alters what is known, and tells those who wait.
func (c *certainty) change(by func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by()
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

func (c *certainty) begin(made time.Time) {
	c.change(func() { c.made, c.seen, c.whole, c.confirmed = made, 0, false, time.Time{} })
}

func (c *certainty) lost(error) { c.begin(time.Time{}) }

func (c *certainty) ready(revision uint64) {
	c.change(func() { c.seen, c.whole = max(c.seen, revision), true })
}

func (c *certainty) came(revision uint64) {
	c.change(func() { c.seen = max(c.seen, revision) })
}

// covers reports whether everything that was stored before a time is known; begin tells that it is time to look again, and
// that this caller is to do it in the background.
func (c *certainty) covers(at time.Time) (covered, begin bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	covered = !c.confirmed.Before(at)
	begin = covered && !c.looking && c.confirmed.Before(at.Add(lookAhead))
	c.looking = c.looking || begin
	return covered, begin
}

// look asks how far the bucket is, and waits until all of that has come in.
func (c *certainty) look(ctx context.Context, js jetstream.JetStream, bucket string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	held, err := js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return fmt.Errorf("look at bucket %s: %w", bucket, err)
	}
	info := held.CachedInfo()
	for {
		c.mu.Lock()
		there := c.whole && c.seen >= info.State.LastSeq && c.made.Equal(info.Created)
		if told := info.TimeStamp.Add(-lookMargin); there && told.After(c.confirmed) {
			c.confirmed = told
		}
		if c.moved == nil {
			c.moved = make(chan struct{})
		}
		moved := c.moved
		c.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("bucket %s has entries that have not come in yet: %w", bucket, ctx.Err())
		}
	}
}

// Sure makes certain that every document is known that was stored a second before a time by the broker's clock, for
// example that of an event. The error says what keeps it from that; then nothing must be decided.
func (c *Catalogue) Sure(ctx context.Context, at time.Time) error {
	need := at.Add(-inForce)
	covered, begin := c.known.covers(need)
	if begin {
		go func() {
			defer c.known.change(func() { c.known.looking = false })
			_ = c.known.look(context.WithoutCancel(ctx), c.js, EndpointBucket) // whoever needs it looks for himself
		}()
	}
	if covered {
		return nil
	}
	select {
	case c.known.turn <- struct{}{}:
		defer func() { <-c.known.turn }()
	case <-ctx.Done():
		return fmt.Errorf("the documents of endpoints cannot be read: %w", ctx.Err())
	}
	if covered, _ := c.known.covers(need); covered {
		return nil // somebody has looked meanwhile
	}
	if err := c.known.look(ctx, c.js, EndpointBucket); err != nil {
		return fmt.Errorf("the documents of endpoints cannot be read: %w", err)
	}
	return nil
}
