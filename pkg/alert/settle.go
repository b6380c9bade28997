package alert

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// maxRaces bounds how often one item begins again because somebody else wrote first.
const maxRaces = 8

// sight is a slot with the certificates that are in it. The desk's lock guards it.
type sight struct {
	slot slot
	seen []sighting
	when plan
}

func (s *sight) plan() *plan { return &s.when }

// again updates a certificate that is known, and is false for any other.
func (s *sight) again(c Certificate, now time.Time) bool {
	for i := range s.seen {
		known := &s.seen[i]
		if known.Fingerprint == c.Fingerprint && known.Renews == c.Renews {
			known.last = now
			return true
		}
	}
	return false
}

// add enters a certificate, in the place of the one that was not seen for longest when there is no room.
func (s *sight) add(c Certificate, now time.Time) {
	s.seen = slices.DeleteFunc(s.seen, func(known sighting) bool { return known.Fingerprint == c.Fingerprint })
	s.seen = append(s.seen, sighting{Certificate: c, first: now, last: now})
	s.bound()
}

func (s *sight) bound() {
	slices.SortStableFunc(s.seen, func(a, b sighting) int { return cmp.Or(b.last.Compare(a.last), b.first.Compare(a.first)) })
	s.seen = s.seen[:min(len(s.seen), maxInSlot)]
}

// settle tells the steps that have come, of every certificate that is still in use.
func (s *sight) settle(ctx context.Context, d *Desk, now time.Time) (time.Time, error) {
	for range maxRaces {
		next, err := s.once(ctx, d, now)
		if !errors.Is(err, ErrExists) {
			return next, err
		}
	}
	return time.Time{}, fmt.Errorf("the memory entry %s is being written all the time", certificateKey(s.slot))
}

func (s *sight) once(ctx context.Context, d *Desk, now time.Time) (next time.Time, err error) {
	key := certificateKey(s.slot)
	book, revision, err := recall(ctx, d, key, parseLedger)
	if err != nil {
		return time.Time{}, err
	}
	d.mu.Lock()
	s.seen = current(book.merge(s.slot, s.seen))
	s.bound()
	seen := slices.Clone(s.seen)
	d.mu.Unlock()

	changed := false
	for _, c := range seen {
		if book.find(c.Fingerprint) == nil {
			book.add(c)
			changed = true
		}
	}
	var told []Alert
	for _, c := range seen {
		if step, ok := c.Next(now); ok && (next.IsZero() || step.At.Before(next)) {
			next = step.At
		}
		due, ok := c.Due(now)
		e := book.find(c.Fingerprint)
		if !ok || e == nil || due.Step <= e.Told {
			continue
		}
		a, err := expiryAlert(c.Certificate, due, now)
		if err == nil {
			err = d.publish(ctx, a)
		}
		if err != nil {
			return time.Time{}, err
		}
		e.Told, changed = due.Step, true
		told = append(told, a)
	}
	if changed {
		if err := d.remember(ctx, key, book, revision); err != nil {
			return time.Time{}, err
		}
	}
	d.told(ctx, told)
	return next, nil
}

// watch is one endpoint. The desk's lock guards it.
type watch struct {
	key     endpoint.Key
	tracker tracker
	seen    time.Time // the latest attempt
	loaded  time.Time // when the memory was read
	when    plan
}

func (w *watch) plan() *plan { return &w.when }

// settle tells a change of condition, when there is one.
func (w *watch) settle(ctx context.Context, d *Desk, now time.Time) (time.Time, error) {
	d.mu.Lock()
	t := &w.tracker
	idle := !w.loaded.IsZero() && !w.seen.After(w.loaded)
	if (idle && t.told == Healthy && t.first.IsZero()) || (now.Sub(w.seen) >= forgotten) {
		delete(d.watches, w.key) // read again when there is something to say
		d.mu.Unlock()
		return time.Time{}, nil
	}
	is, _ := t.decide(now, d.lasting)
	quiet := t.told != 0 && is == t.told && now.Before(w.loaded.Add(refresh))
	d.mu.Unlock()
	if quiet {
		return w.next(d, now), nil
	}
	for range maxRaces {
		done, err := w.once(ctx, d, now)
		switch {
		case errors.Is(err, ErrExists):
		case err != nil:
			return time.Time{}, err
		case done:
			return w.next(d, now), nil
		}
	}
	return time.Time{}, fmt.Errorf("the memory entry %s is being written all the time", endpointKey(w.key.String()))
}

func (w *watch) next(d *Desk, now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	again := w.loaded.Add(refresh)
	if at := w.tracker.next(now, d.lasting); !at.IsZero() && at.Before(again) {
		return at
	}
	return again
}

// once takes the endpoint one write further: it tells what is pending, or makes a change pending.
func (w *watch) once(ctx context.Context, d *Desk, now time.Time) (done bool, err error) {
	key := endpointKey(w.key.String())
	s, revision, err := recall(ctx, d, key, parseStanding)
	if err != nil {
		return false, err
	}
	if len(s.Pending) > 0 {
		for _, a := range s.Pending {
			if err := d.publish(ctx, a); err != nil {
				return false, err
			}
		}
		told := s.Pending
		s.Pending = nil
		if err := d.remember(ctx, key, s, revision); err != nil {
			return false, err
		}
		d.told(ctx, told)
		return false, nil
	}
	if s.Condition == 0 {
		s.Condition = Healthy // nothing was ever told
	}
	d.mu.Lock()
	w.loaded = now
	w.tracker.tell(s.Condition, s.Since, now, d.lasting)
	is, since := w.tracker.decide(now, d.lasting)
	evidence := w.tracker.success
	if is.held() {
		evidence = w.tracker.trouble
	}
	d.mu.Unlock()
	if is == s.Condition {
		return true, nil
	}
	next, err := s.change(w.key.String(), is, since, now, evidence)
	if err != nil {
		return false, err
	}
	return false, d.remember(ctx, key, next, revision)
}

// turn is one piece of news of a rotation.
type turn struct {
	alert Alert
	when  plan
}

func (t *turn) plan() *plan { return &t.when }

// settle tells the news unless it has been told.
func (t *turn) settle(ctx context.Context, d *Desk, _ time.Time) (time.Time, error) {
	_, _, err := d.config.Memory.Get(ctx, rotationKey(t.alert.ID))
	switch {
	case errors.Is(err, ErrNotFound):
		if err := d.publish(ctx, t.alert); err != nil {
			return time.Time{}, err
		}
		err = d.remember(ctx, rotationKey(t.alert.ID), t.alert, 0)
		if err == nil {
			d.told(ctx, []Alert{t.alert})
		} else if !errors.Is(err, ErrExists) {
			return time.Time{}, err
		}
	case err != nil:
		return time.Time{}, fmt.Errorf("read the memory of alerts, entry %s: %w", rotationKey(t.alert.ID), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.turns, t.alert.ID)
	if len(d.finished) >= maxFinished {
		clear(d.finished)
	}
	d.finished[t.alert.ID] = struct{}{}
	return time.Time{}, nil
}

// recall reads an entry; one that is not there is the zero value with revision 0. One that cannot be read is told in the
// log and counts as empty, because an alert that comes twice is better than none: it is overwritten by the next.
func recall[T any](ctx context.Context, d *Desk, key string, parse func([]byte) (T, error)) (value T, revision uint64, err error) {
	data, revision, err := d.config.Memory.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return value, 0, nil
	}
	if err != nil {
		return value, 0, fmt.Errorf("read the memory of alerts, entry %s: %w", key, err)
	}
	value, err = parse(data)
	if err != nil {
		d.config.Logger.LogAttrs(ctx, slog.LevelWarn, "an entry in the memory of alerts cannot be read and is begun anew",
			slog.String("key", key), slog.Any("error", err))
		var empty T
		return empty, revision, nil
	}
	return value, revision, nil
}

// remember writes an entry over the revision that was read; 0 stands for none.
func (d *Desk) remember(ctx context.Context, key string, value any, revision uint64) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the memory of alerts, entry %s: %w", key, err)
	}
	if revision == 0 {
		err = d.config.Memory.Create(ctx, key, data)
	} else {
		err = d.config.Memory.Update(ctx, key, data, revision)
	}
	if err != nil {
		return fmt.Errorf("write the memory of alerts, entry %s: %w", key, err)
	}
	return nil
}
