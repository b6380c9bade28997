package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/schema"
)

// What broke its schema is replayed once the schema is mended: it is checked again here, against the schemas of now, and
// what was decided travels with the record. Signers go by the time of the event and would refuse it again.

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// BrokeSchema tells that the letter is of a valid event that broke its schema, and not of a message that is no event.
func (l Letter) BrokeSchema() bool {
	return l.Endpoint == "" && l.Tenant != "" && len(l.Reasons) > 0 && strings.HasPrefix(l.Reasons[0], schema.Broke)
}

// replayEvent replays the letter of an event that broke its schema: to every endpoint that wants it now. handled is false
// for a letter of something that is no valid event.
func (o *Operator) replayEvent(ctx context.Context, c Chosen, each func(Replay) error) (handled bool, err error) {
	text, _ := strings.CutPrefix(string(c.ID), "event-")
	sequence, err := strconv.ParseUint(text, 10, 64)
	if err != nil || c.Endpoint.Name != "" {
		return false, nil //nolint:nilerr // another kind of letter
	}
	e, raw, found, err := o.event(ctx, sequence)
	if err != nil || (!found && raw != nil) {
		return err != nil, err
	}
	tell := func(r Replay) error {
		r.Delivery = c.ID
		return each(r)
	}
	if !found {
		return true, tell(refused("event %d has aged out of EVENTS; publish it again (`handfast deadletter show %s` has it)", sequence, c.ID))
	}
	registry, err := o.Schemas(ctx, e.Tenant())
	if err != nil {
		return true, err
	}
	verdict, err := registry.Judge(e, everything())
	if words, refusal := schemaRefusal(err); refusal {
		return true, tell(refused("%s", words))
	} else if err != nil {
		return true, err //nolint:wrapcheck // says what
	}
	return true, o.replayTo(ctx, e, raw, verdict, c, each)
}

// schemaRefusal says why something cannot be replayed yet.
func schemaRefusal(err error) (words string, refusal bool) {
	if violation, ok := errors.AsType[*schema.ViolationError](err); ok {
		return strings.Join(violation.Reasons(), "; ") + "; apply a version of the schema that accepts it, or publish it again, corrected", true
	}
	if unusable, ok := errors.AsType[*schema.UnusableError](err); ok {
		return unusable.Error(), true
	}
	return "", false
}

// replayTo sets an event going to every endpoint that wants it and has not been tried.
func (o *Operator) replayTo(ctx context.Context, e event.Event, raw *jetstream.RawStreamMsg, verdict schema.Verdict, c Chosen, each func(Replay) error) error {
	all, err := o.Endpoints(ctx, e.Tenant())
	if err != nil {
		return err
	}
	var chosen []Chosen
	wanting := make(map[delivery.ID]Stored)
	for _, to := range all {
		if wanted, err := to.Match(e); err == nil && wanted {
			id := delivery.NewID(e.Digest(), to.Key())
			chosen = append(chosen, Chosen{ID: id, Endpoint: to.Key(), First: raw.Time.UTC()})
			wanting[id] = to
		}
	}
	if len(chosen) == 0 {
		r := refused("it is as its schema wants it now, but no endpoint of tenant %s wants it", e.Tenant())
		r.Delivery = c.ID
		return each(r)
	}
	attempts, err := o.attemptsOf(ctx, chosen)
	if err != nil {
		return err
	}
	for _, d := range chosen {
		r, err := o.replayFirst(ctx, e, raw, verdict, d, wanting[d.ID], attempts[d.ID])
		if err != nil {
			return fmt.Errorf("replay %s: %w", d.ID, err)
		}
		r.Delivery, r.Endpoint = d.ID, d.Endpoint.String()
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// replayFirst sets the first attempt of a delivery going.
func (o *Operator) replayFirst(ctx context.Context, e event.Event, raw *jetstream.RawStreamMsg, verdict schema.Verdict, d Chosen, to Stored, attempts []receipt.Receipt) (Replay, error) {
	switch {
	case to.Disabled():
		return refused("endpoint %s is disabled (%s); apply its document again first", d.Endpoint, to.Status.Disabled.Reason), nil
	case len(attempts) > 0:
		return Replay{Result: Underway, Note: "it has been tried since; `handfast delivery show " + string(d.ID) + "` tells more"}, nil
	}
	// Where it stands: a replay that was asked for before may wait, with a paused endpoint for example.
	shown := Shown{Delivery: d.ID, key: d.Endpoint}
	if err := o.complete(ctx, &shown, attempts); err != nil {
		return Replay{}, err
	}
	if shown.Place == Parked { // Sending also stands for what has never been anywhere
		return Replay{Result: Underway, Note: shown.Words}, nil
	}
	dataschema, err := decide(verdict, e.Type(), to.Registered)
	if words, refusal := schemaRefusal(err); refusal {
		return refused("%s", words), nil
	} else if err != nil {
		return Replay{}, err
	}
	record := delivery.Retry{
		Delivery: d.ID, Tenant: d.Endpoint.Tenant, Endpoint: d.Endpoint.Name, Event: raw.Sequence, Attempt: 1,
		First: d.First, Schema: dataschema, Outcome: delivery.LaneFull,
	}
	return o.schedule(ctx, record, event.Carrier(raw.Header).Get("traceparent"), 0)
}

// decide is what dataschema is to say at an endpoint.
func decide(verdict schema.Verdict, kind string, to endpoint.Registered) (string, error) {
	if verdict.Version == nil {
		return schema.AsPublished, nil
	}
	if number, pins := to.Schema.Pin[kind]; pins {
		return verdict.Pin(number) //nolint:wrapcheck // typed, and says what
	}
	return verdict.DataSchema, nil
}

// redecide says under which schema a replay goes: under the one that was decided before, and where the event broke the
// version that its endpoint was pinned to, under what holds now. words say why it cannot.
func (o *Operator) redecide(ctx context.Context, record *delivery.Retry, shown Shown, to Stored) (words string, err error) {
	switch letter := shown.Letter; {
	case shown.record != nil:
		record.Schema = shown.record.Schema
		return "", nil
	case letter == nil || len(shown.Attempts) > 0 || letter.Schema != "" || letter.Outcome == nil || *letter.Outcome != delivery.Rejected:
		if letter != nil {
			record.Schema = letter.Schema
		}
		return "", nil
	}
	e, _, found, err := o.event(ctx, record.Event)
	if err != nil {
		return "", err
	}
	if !found || delivery.NewID(e.Digest(), shown.key) != shown.Delivery {
		return "its event has aged out of EVENTS, and it could not be checked again; publish it again", nil
	}
	registry, err := o.Schemas(ctx, e.Tenant())
	if err != nil {
		return "", err
	}
	verdict, err := registry.Judge(e, everything())
	if err == nil {
		record.Schema, err = decide(verdict, e.Type(), to.Registered)
	}
	if words, refusal := schemaRefusal(err); refusal {
		return words, nil
	}
	return "", err
}

// refusal ends the wait for an event that breaks its schema: it goes to nobody.
func refusal(p Published, otherwise func(message) error) func(message) error {
	return func(m message) error {
		l, err := parseLetter(m.Subject(), m.Data())
		if err != nil || !l.BrokeSchema() || l.Event != p.Sequence {
			return otherwise(m)
		}
		return fmt.Errorf("%s, so it goes to no endpoint:\n  %s\n  `handfast deadletter show %s` has it", l.Reasons[0], strings.Join(l.Reasons[1:], "\n  "), l.ID)
	}
}
