package signer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/stream"
)

// drainTime is how long one wake-up signs; what is left then gets a wake-up of its own, so that the token is
// acknowledged in time.
const drainTime = workTime / 2

// manyUnready is how many deliveries in a row may fail to be signed, each for a reason of its own, before a pass ends:
// more often than not it is one reason for all.
const manyUnready = 256

// place is where a waiting delivery stands in a backlog.
type place struct {
	event    uint64 // its age, and
	sequence uint64 // where it is
}

// draining is the set of endpoints that this signer drains at the moment. Two at a time would mix up the order.
// Nor may all of them go out together: a long backlog keeps its place for long, and new events need places, too.
type draining struct {
	most int // at a time

	mu   sync.Mutex
	busy map[endpoint.Key]bool
	// crowded is when one was turned away last, for want of a place.
	crowded time.Time
	// passed is how many at the head of a backlog were left where they are by the passes before.
	passed map[endpoint.Key]int
}

// turn is what becomes of a wake-up.
type turn uint8

const (
	itsTurn turn = iota + 1 // it has a place until end
	under                   // its endpoint is being drained
	crowd                   // all places are taken
)

func (d *draining) begin(key endpoint.Key, now time.Time) turn {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.busy[key]:
		return under
	case len(d.busy) >= d.most:
		d.crowded = now
		return crowd
	}
	if d.busy == nil {
		d.busy = make(map[endpoint.Key]bool)
	}
	d.busy[key] = true
	return itsTurn
}

// waited reports whether others are waiting for a place.
func (d *draining) waited(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.crowded.IsZero() && now.Sub(d.crowded) < 2*pauseRetry
}

func (d *draining) end(key endpoint.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, key)
}

// before is where a pass over so many begins.
func (d *draining) before(key endpoint.Key, places int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed[key] >= places {
		delete(d.passed, key)
	}
	return d.passed[key]
}

// pass notes that a pass has come so much further without anything to show for it; 0 ends the story.
func (d *draining) pass(key endpoint.Key, further int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if further == 0 {
		delete(d.passed, key)
		return
	}
	if d.passed == nil {
		d.passed = make(map[endpoint.Key]int)
	}
	d.passed[key] += further
}

// drain signs what waits for an endpoint, the oldest first. It looks through the whole backlog before it begins: what
// was under way when the endpoint began to wait comes into it behind younger ones, and so does what was given its
// payload to take along. A delivery leaves the backlog only after its request, or its dead letter, is stored.
//
// One that cannot be signed for a reason of its own stays where it is and does not stop those behind it. The error tells
// about it when nothing else is left, so that the wake-up comes again. Very many of them end the pass, and the next one
// begins behind them.
func (s *Signer) drain(ctx context.Context, key endpoint.Key) (more bool, err error) {
	places, err := s.survey(ctx, key)
	if err != nil {
		return false, err
	}
	began := time.Now() // looking through a long backlog over a slow way must not use up the time to sign
	from := s.draining.before(key, len(places))
	gone, left := 0, 0
	var problem error
	for _, at := range slices.Concat(places[from:], places[:from]) {
		if time.Since(began) > drainTime || s.stopping.Load() || gone == 0 && left == manyUnready {
			break
		}
		if to, ok := s.endpoints.Get(key); ok && to.Waiting() {
			return false, nil // it waits again; what lets it go makes a new token
		}
		err := s.drainOne(ctx, key, at.sequence)
		if err == nil {
			gone++
			continue
		}
		own, ok := errors.AsType[*unreadyError](err)
		if !ok {
			return false, err
		}
		if err := s.keyless(ctx, key); err != nil {
			return false, err // nothing of this endpoint can be signed
		}
		left++
		problem = cmp.Or(problem, error(own))
	}
	if gone == 0 && left > 0 {
		s.draining.pass(key, left)
		return false, fmt.Errorf("%d of its deliveries cannot be signed at present, and stay in the backlog; the oldest: %w", left, problem)
	}
	s.draining.pass(key, 0)
	return len(places) > 0, nil // there may be new ones by now
}

// keyless is an error when an endpoint has no keys that can be used.
func (s *Signer) keyless(ctx context.Context, key endpoint.Key) error {
	to, ok := s.endpoints.Get(key)
	if !ok {
		return nil
	}
	schemes := to.Signature.Signing(time.Now())
	if err := allowed(to, schemes); err != nil {
		return err
	}
	_, err := s.keyring.Ring(ctx, key, schemes)
	return err
}

func (s *Signer) drainOne(ctx context.Context, key endpoint.Key, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime) // an answer that is lost must not keep those behind it waiting
	defer cancel()
	raw, err := stream.GetMsg(ctx, s.backlog, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // another signer was faster
	}
	if err != nil {
		return fmt.Errorf("read the backlog of %s: %w", key, err)
	}
	record, err := delivery.ParseRetry(raw.Data)
	if err != nil {
		return fmt.Errorf("read the backlog of %s: %w", key, err)
	}
	if err := s.resign(propagator.Extract(ctx, event.Carrier(raw.Header)), record, "b"+strconv.FormatUint(sequence, 10)); err != nil {
		return err
	}
	if err := s.backlog.DeleteMsg(ctx, sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("take a delivery off the backlog of %s: %w", key, err)
	}
	return nil
}

// survey finds every delivery in a backlog, the oldest first. A backlog has a bound (see the topology), and so has this.
func (s *Signer) survey(ctx context.Context, key endpoint.Key) ([]place, error) {
	subject := stream.BacklogSubject(key, s.topology.Partitions)
	var places []place
	for next := uint64(1); ; {
		raw, err := stream.GetMsg(ctx, s.backlog, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the backlog of %s: %w", key, err)
		}
		next = raw.Sequence + 1
		record, err := delivery.ParseRetry(raw.Data)
		if err != nil {
			s.logger.ErrorContext(ctx, "foreign record in a backlog; left where it is", slog.String("subject", subject), slog.Uint64("sequence", raw.Sequence), slog.Any("error", err))
			continue
		}
		places = append(places, place{event: record.Event, sequence: raw.Sequence})
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.sequence, b.sequence))
	})
	return places, nil
}
