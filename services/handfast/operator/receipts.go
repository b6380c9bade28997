package operator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/stream"
)

// Filter chooses deliveries. Empty fields choose all.
type Filter struct {
	// Endpoint may have a tenant and no name.
	Endpoint endpoint.Key
	Outcomes []delivery.Outcome
	// Since and Until bound the newest attempt.
	Since, Until time.Time
	// Event is an event's id, or its sequence in EVENTS.
	Event      string
	Deliveries []delivery.ID
	// Limit bounds how many are returned; 0 for all.
	Limit int
}

func (f Filter) subjects() []string {
	return []string{"receipts." + orAny(f.Endpoint.Tenant) + "." + orAny(f.Endpoint.Name)}
}

// mentions is a cheap look that spares most parsing: what it refuses cannot match.
func (f Filter) mentions(data []byte) bool {
	if len(f.Deliveries) == 0 {
		return true
	}
	return slices.ContainsFunc(f.Deliveries, func(id delivery.ID) bool { return bytes.Contains(data, []byte(id)) })
}

// names reports whether the filter means this delivery and event, whatever came of it.
func (f Filter) names(id delivery.ID, e receipt.Event) bool {
	if len(f.Deliveries) > 0 && !slices.Contains(f.Deliveries, id) {
		return false
	}
	return f.Event == "" || f.Event == e.ID || f.Event == strconv.FormatUint(e.Sequence, 10)
}

func (f Filter) wants(r receipt.Receipt) bool {
	return f.names(r.Delivery, r.Event) && (len(f.Outcomes) == 0 || slices.Contains(f.Outcomes, r.Outcome)) &&
		(f.Until.IsZero() || !r.At.After(f.Until))
}

// Deliveries returns the newest attempt of each delivery that the filter chooses, newest first.
func (o *Operator) Deliveries(ctx context.Context, f Filter) ([]receipt.Receipt, error) {
	var all []receipt.Receipt
	seen := make(map[delivery.ID]struct{})
	err := o.backwards(ctx, stream.Receipts, f.subjects(), f.Since, func(m message) error {
		if !f.mentions(m.Data()) {
			return nil
		}
		r, err := receipt.Parse(m.Data())
		if err != nil {
			return nil //nolint:nilerr // a foreign message
		}
		if _, older := seen[r.Delivery]; older {
			return nil
		}
		seen[r.Delivery] = struct{}{}
		if !f.wants(r) {
			return nil
		}
		if all = append(all, r); f.Limit > 0 && len(all) >= f.Limit {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Tail hands on every attempt that the filter chooses as it happens, until ctx ends.
func (o *Operator) Tail(ctx context.Context, f Filter, take func(receipt.Receipt) error) error {
	return o.follow(ctx, stream.Receipts, f.subjects(), from{now: true}, func(m message) error {
		r, err := receipt.Parse(m.Data())
		if err != nil || !f.wants(r) {
			return nil //nolint:nilerr // a foreign message
		}
		return take(r)
	})
}

// attempts returns all attempts of some deliveries since a time, in their order. It is one pass, however many they are.
func (o *Operator) attempts(ctx context.Context, key endpoint.Key, ids map[delivery.ID]struct{}, since time.Time) (map[delivery.ID][]receipt.Receipt, error) {
	cheap := Filter{Endpoint: key}
	if len(ids) <= 4 {
		cheap.Deliveries = slices.Collect(maps.Keys(ids))
	}
	all := make(map[delivery.ID][]receipt.Receipt, len(ids))
	err := o.scan(ctx, stream.Receipts, cheap.subjects(), from{time: since}, func(m message) error {
		if !cheap.mentions(m.Data()) {
			return nil
		}
		r, err := receipt.Parse(m.Data())
		if err != nil {
			return nil //nolint:nilerr // a foreign message
		}
		if _, wanted := ids[r.Delivery]; wanted {
			all[r.Delivery] = append(all[r.Delivery], r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, list := range all {
		slices.SortStableFunc(list, func(a, b receipt.Receipt) int { return cmp.Compare(a.Attempt, b.Attempt) })
	}
	return all, nil
}

// DeadLetters returns the dead letters that the filter chooses, newest first. Those of refused messages have no delivery;
// their id is the last token of their subject.
func (o *Operator) DeadLetters(ctx context.Context, f Filter) ([]Letter, error) {
	subject := "deadletters." + orAny(f.Endpoint.Tenant) + "." + orAny(f.Endpoint.Name) + "."
	subjects := make([]string, 0, len(f.Deliveries)+1)
	for _, id := range f.Deliveries {
		subjects = append(subjects, subject+string(id))
	}
	if len(f.Deliveries) == 0 {
		subjects = append(subjects, subject+"*")
	}
	var all []Letter
	err := o.backwards(ctx, stream.DeadLetters, subjects, f.Since, func(m message) error {
		l, err := parseLetter(m.Subject(), m.Data())
		if err != nil || !f.wantsLetter(l) {
			return nil //nolint:nilerr // a foreign message
		}
		if all = append(all, l); f.Limit > 0 && len(all) >= f.Limit {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (f Filter) wantsLetter(l Letter) bool {
	id := requestID(l)
	return f.names(delivery.ID(l.ID), receipt.Event{ID: id, Sequence: l.Event}) &&
		(len(f.Outcomes) == 0 || (l.Outcome != nil && slices.Contains(f.Outcomes, *l.Outcome))) &&
		(f.Until.IsZero() || !l.At.After(f.Until))
}

// requestID is the id of the event in a dead letter's body, when it can be read.
func requestID(l Letter) string {
	e, err := envelope(l.Body)
	if err != nil {
		return ""
	}
	return e.ID
}

// attributes are those of a CloudEvent in JSON that people look for.
type attributes struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	Type   string `json:"type"`
}

func envelope(body delivery.Body) (attributes, error) {
	data, ok := body.Bytes()
	if !ok {
		return attributes{}, fmt.Errorf("the body of %d bytes was not kept", body.Omitted)
	}
	var a attributes
	if err := json.Unmarshal(data, &a); err != nil {
		return attributes{}, fmt.Errorf("the body is not a CloudEvent in JSON: %w", err)
	}
	return a, nil
}
