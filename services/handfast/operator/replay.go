package operator

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/stream"
)

// Results of a replay.
const (
	// Replayed: an attempt has been set going.
	Replayed = "replayed"
	// Underway: it is on its way already, or a replay of the same attempt has been asked for before. Nothing was done.
	Underway = "underway"
	// Refused: it cannot be replayed; the note says why and what to do.
	Refused = "refused"
)

// Replay is what came of one.
type Replay struct {
	Delivery delivery.ID `json:"delivery"`
	Endpoint string      `json:"endpoint,omitempty"`
	Result   string      `json:"result"`
	// Attempt is the number of the attempt that was set going.
	Attempt int    `json:"attempt,omitempty"`
	Note    string `json:"note,omitempty"`
}

// Chosen is a delivery to replay.
type Chosen struct {
	ID       delivery.ID
	Endpoint endpoint.Key
	// First is when its event was stored.
	First time.Time
}

// Choose takes deliveries out of a list.
func Choose(list []receipt.Receipt) []Chosen {
	all := make([]Chosen, len(list))
	for i, r := range list {
		all[i] = Chosen{ID: r.Delivery, Endpoint: endpoint.Key{Tenant: r.Tenant, Name: r.Endpoint}, First: r.First}
	}
	return all
}

// ChooseLetters takes deliveries out of dead letters. A letter of a refused message has none: it is chosen by the letter's
// id, and its replay is refused with words.
func ChooseLetters(list []Letter) []Chosen {
	all := make([]Chosen, len(list))
	for i, l := range list {
		all[i] = Chosen{ID: delivery.ID(l.ID), Endpoint: l.Key(), First: l.First}
	}
	return all
}

// Find looks deliveries up by id. What is not found is a [NotFoundError]; all of those are told at once.
func (o *Operator) Find(ctx context.Context, ids []delivery.ID) ([]Chosen, error) {
	all := make([]Chosen, 0, len(ids))
	var problems []error
	for _, id := range ids {
		shown := Shown{Delivery: id}
		if !id.Valid() {
			problems = append(problems, unknown(id))
			continue
		}
		first, err := o.locate(ctx, &shown)
		var missing *NotFoundError
		switch {
		case errors.As(err, &missing):
			problems = append(problems, err)
		case err != nil:
			return nil, err
		case first.IsZero():
			problems = append(problems, unknown(id))
		default:
			all = append(all, Chosen{ID: id, Endpoint: shown.key, First: first})
		}
	}
	return all, errors.Join(problems...)
}

// Replay sets deliveries going again, one after the other, and hands on what came of each. What each has been through is
// read in one pass before.
func (o *Operator) Replay(ctx context.Context, chosen []Chosen, each func(Replay) error) error {
	if len(chosen) == 0 {
		return nil
	}
	attempts, err := o.attemptsOf(ctx, chosen)
	if err != nil {
		return err
	}
	for _, c := range chosen {
		if handled, err := o.replayEvent(ctx, c, each); err != nil {
			return fmt.Errorf("replay %s: %w", c.ID, err)
		} else if handled {
			continue
		}
		r, err := o.replay(ctx, c, attempts[c.ID])
		if err != nil {
			return fmt.Errorf("replay %s: %w", c.ID, err)
		}
		r.Delivery, r.Endpoint = c.ID, c.Endpoint.String()
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// attemptsOf reads, in one pass, what was tried since the earliest of their events was stored.
func (o *Operator) attemptsOf(ctx context.Context, chosen []Chosen) (map[delivery.ID][]receipt.Receipt, error) {
	ids, since := make(map[delivery.ID]struct{}, len(chosen)), time.Now()
	common := chosen[0].Endpoint
	for _, c := range chosen {
		ids[c.ID] = struct{}{}
		if c.First.Before(since) {
			since = c.First
		}
		if c.Endpoint.Tenant != common.Tenant {
			common = endpoint.Key{}
		}
		if c.Endpoint != common {
			common.Name = ""
		}
	}
	return o.attempts(ctx, common, ids, since.Add(-skew))
}

// Since tells the newest attempt that was made after each of these dead letters, by the letter's id. A letter that has
// not been replayed is not in it.
func (o *Operator) Since(ctx context.Context, letters []Letter) (map[string]receipt.Receipt, error) {
	if len(letters) == 0 {
		return nil, nil //nolint:nilnil // an empty map to read from
	}
	attempts, err := o.attemptsOf(ctx, ChooseLetters(letters))
	if err != nil {
		return nil, err
	}
	after := make(map[string]receipt.Receipt)
	for _, l := range letters {
		if list := attempts[delivery.ID(l.ID)]; len(list) > 0 && list[len(list)-1].Attempt > l.Attempt {
			after[l.ID] = list[len(list)-1]
		}
	}
	return after, nil
}

func refused(format string, args ...any) Replay {
	return Replay{Result: Refused, Note: fmt.Sprintf(format, args...)}
}

func (o *Operator) replay(ctx context.Context, c Chosen, attempts []receipt.Receipt) (Replay, error) {
	if c.Endpoint.Name == "" {
		return refused("this message was refused because it is no valid event, so there is nothing to deliver; publish it again, corrected (`handfast deadletter show %s` lists what is wrong)", c.ID), nil
	}
	to, err := o.Endpoint(ctx, c.Endpoint)
	var missing *NotFoundError
	switch {
	case errors.As(err, &missing):
		return refused("endpoint %s does not exist; apply its document first", c.Endpoint), nil
	case err != nil:
		return Replay{}, err
	case to.Disabled():
		return refused("endpoint %s is disabled (%s); apply its document again first", c.Endpoint, to.Status.Disabled.Reason), nil
	}
	shown := Shown{Delivery: c.ID, key: c.Endpoint}
	if err := o.complete(ctx, &shown, attempts); err != nil {
		return Replay{}, err
	}
	if shown.Place == Sending || shown.Place == Parked {
		return Replay{Result: Underway, Note: shown.Words}, nil
	}
	record, trace, err := o.record(ctx, shown)
	if gone, ok := errors.AsType[*goneError](err); ok {
		return refused("%s", gone.reason), nil
	}
	if err != nil {
		return Replay{}, err
	}
	if words, err := o.redecide(ctx, &record, shown, to); err != nil {
		return Replay{}, err
	} else if words != "" {
		return refused("%s", words), nil
	}
	r, err := o.schedule(ctx, record, trace, shown.sequence)
	if r.Result == Replayed && to.Paused {
		r.Note = "endpoint " + c.Endpoint.String() + " is paused, so it waits there until `handfast endpoint resume " + c.Endpoint.String() + "`"
	}
	return r, err
}

// goneError says that there is no payload any more.
type goneError struct{ reason string }

func (e *goneError) Error() string { return e.reason }

// record makes the retry that follows the last attempt.
func (o *Operator) record(ctx context.Context, shown Shown) (record delivery.Retry, trace string, err error) {
	last := shown.last()
	record = delivery.Retry{
		Delivery: shown.Delivery, Tenant: shown.key.Tenant, Endpoint: shown.key.Name, Outcome: delivery.LaneFull,
	}
	if shown.record != nil {
		last = max(last, shown.record.Attempt-1)
		record.Event, record.Outcome, record.Previous = shown.record.Event, shown.record.Outcome, shown.record.Previous
	}
	if shown.Letter != nil {
		record.Event = max(record.Event, shown.Letter.Event)
		if shown.Letter.Outcome != nil {
			record.Outcome = *shown.Letter.Outcome
		}
	}
	var about receipt.Event
	if n := len(shown.Attempts); n > 0 {
		about = shown.Attempts[n-1].Event
		record.Event, record.Outcome = max(record.Event, about.Sequence), shown.Attempts[n-1].Outcome
	}
	record.Attempt, record.Base = last+1, last
	record.First, record.Inline, trace, err = o.payload(ctx, shown, record.Event, about)
	if shown.trace != "" {
		trace = shown.trace
	}
	return record, trace, err
}

// payload says where a replay gets its body from: from EVENTS while it stands there, else it travels with the record under
// the stamp of the signer that built it, and the time counts from now.
func (o *Operator) payload(ctx context.Context, shown Shown, sequence uint64, about receipt.Event) (first time.Time, inline *delivery.Inline, trace string, err error) {
	now := time.Now().UTC()
	if e, raw, found, err := o.event(ctx, sequence); err != nil {
		return now, nil, "", err
	} else if found && delivery.NewID(e.Digest(), shown.key) == shown.Delivery {
		trace = event.Carrier(raw.Header).Get("traceparent")
		return raw.Time.UTC(), nil, trace, nil // a signer reads it in a moment, and sends it along when it gets old
	}
	if shown.record != nil && shown.record.Inline != nil {
		return now, shown.record.Inline, "", nil
	}
	if shown.Letter == nil {
		return now, nil, "", &goneError{fmt.Sprintf("event %d has aged out of EVENTS, and there is no dead letter with its payload, so there is nothing left to send", sequence)}
	}
	body, ok := shown.Letter.Body.Bytes()
	if !ok || len(body) == 0 {
		return now, nil, "", &goneError{fmt.Sprintf("event %d has aged out of EVENTS, and its dead letter holds no payload, so there is nothing left to send", sequence)}
	}
	inline = &delivery.Inline{ContentType: shown.Letter.Header.Get("Content-Type"), Body: body, Type: about.Type, Source: about.Source, ID: about.ID, Stamp: shown.Letter.Stamp}
	if named, err := envelope(shown.Letter.Body); err == nil && about.ID == "" {
		inline.Type, inline.Source, inline.ID = named.Type, named.Source, named.ID
	}
	return now, inline, "", nil
}

// event reads one event of EVENTS; found is false when it has aged out or is none.
func (o *Operator) event(ctx context.Context, sequence uint64) (e event.Event, raw *jetstream.RawStreamMsg, found bool, err error) {
	if sequence == 0 {
		return event.Event{}, nil, false, nil
	}
	s, err := o.stream(ctx, stream.Events)
	if err != nil {
		return event.Event{}, nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	raw, err = s.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return event.Event{}, nil, false, nil
	}
	if err != nil {
		return event.Event{}, nil, false, fmt.Errorf("read event %d: %w", sequence, explain(err))
	}
	if e, err = event.Parse(raw.Subject, raw.Header, raw.Data); err != nil {
		return event.Event{}, raw, false, nil // it was refused, so that nothing was delivered of it
	}
	return e, raw, true, nil
}

// longSince is past by any clock: the broker fires what is overdue at once, and a person's machine may be hours ahead of it.
const longSince = -24 * time.Hour

// schedule puts the record on RETRIES, due already, in place of exactly the schedule that was seen there, or of none.
func (o *Operator) schedule(ctx context.Context, record delivery.Retry, trace string, replaces uint64) (Replay, error) {
	msg, _, err := o.topology.ScheduleMessage(record, time.Now().Add(longSince), trace)
	if err != nil {
		return Replay{}, err //nolint:wrapcheck // says what already
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	id := "replay." + string(record.Delivery) + "." + strconv.Itoa(record.Base)
	ack, err := o.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectLastSequencePerSubject(replaces))
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return Replay{Result: Underway, Note: "it moved on at this moment; `handfast delivery show " + string(record.Delivery) + "` tells where it is"}, nil
	case err != nil:
		return Replay{}, fmt.Errorf("publish to %s: %w", msg.Subject, explain(err))
	case ack.Duplicate:
		return Replay{Result: Underway, Attempt: record.Attempt, Note: "it was replayed a moment ago"}, nil
	}
	return Replay{Result: Replayed, Attempt: record.Attempt}, nil
}
