package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/stream"
)

// Places where a delivery can stand.
const (
	// Delivered: done.
	Delivered = "delivered"
	// Scheduled: it waits in RETRIES for a time.
	Scheduled = "scheduled"
	// Parked: it waits in BACKLOG for its endpoint.
	Parked = "parked"
	// Sending: a signed request stands in DELIVERIES, or is on its way between two places.
	Sending = "sending"
	// Dead: it was given up; the request stands in DEADLETTERS.
	Dead = "dead"
)

// Letter is a dead letter with its id, the last token of its subject: that of the delivery, or "event-N" for a message
// that was refused.
type Letter struct {
	delivery.DeadLetter

	ID string `json:"letter"`
}

// Key is the endpoint of the letter; its name is empty for a refused message.
func (l Letter) Key() endpoint.Key { return endpoint.Key{Tenant: l.Tenant, Name: l.Endpoint} }

func parseLetter(subject string, data []byte) (Letter, error) {
	var l Letter
	if err := json.Unmarshal(data, &l.DeadLetter); err != nil {
		return Letter{}, fmt.Errorf("dead letter %s: %w", subject, err)
	}
	l.ID = subject[strings.LastIndexByte(subject, '.')+1:]
	return l, nil
}

// Shown is everything that is known about a delivery.
type Shown struct {
	Delivery delivery.ID `json:"delivery"`
	Endpoint string      `json:"endpoint"`
	// Place is where it stands now, and Words say it to a person.
	Place string `json:"place"`
	Words string `json:"words"`
	// Due is when a scheduled one goes on.
	Due *time.Time `json:"due,omitempty"`
	// Attempts are those that are still known (receipts are kept for 30 days), in their order.
	Attempts []receipt.Receipt `json:"attempts"`
	// Letter is its dead letter. It stays after a replay, until it ages out.
	Letter *Letter `json:"deadletter,omitempty"`

	key    endpoint.Key
	record *delivery.Retry // of a scheduled or parked one
	// sequence and trace are of the schedule.
	sequence uint64
	trace    string
}

// last is the number of the last attempt that was made, or that stands in the dead letter.
func (s *Shown) last() int {
	n := 0
	if len(s.Attempts) > 0 {
		n = s.Attempts[len(s.Attempts)-1].Attempt
	}
	if s.Letter != nil {
		n = max(n, s.Letter.Attempt)
	}
	return n
}

// Delivery finds a delivery and tells where it stands. The error is a [NotFoundError] when nothing is known about it.
func (o *Operator) Delivery(ctx context.Context, id delivery.ID) (Shown, error) {
	if !id.Valid() {
		return Shown{}, unknown(id)
	}
	shown := Shown{Delivery: id}
	first, err := o.locate(ctx, &shown)
	if err != nil {
		return Shown{}, err
	}
	if first.IsZero() {
		return Shown{}, unknown(id)
	}
	if err := o.fill(ctx, &shown, first); err != nil {
		return Shown{}, err
	}
	return shown, nil
}

func unknown(id delivery.ID) error {
	if !id.Valid() {
		return &NotFoundError{What: fmt.Sprintf("%q is not the id of a delivery", string(id)), Hint: "it is the webhook-id, such as msg_3kq…; `handfast delivery list` shows them"}
	}
	return &NotFoundError{
		What: "nothing is known about delivery " + string(id),
		Hint: "receipts are kept for 30 days, and there is none before the first attempt; `handfast delivery list` shows what there is",
	}
}

// locate finds the endpoint of a delivery and when its event was stored, in the order of how cheap it is to look.
func (o *Operator) locate(ctx context.Context, shown *Shown) (first time.Time, err error) {
	id := string(shown.Delivery)
	retries, err := o.stream(ctx, stream.Retries)
	if err != nil {
		return time.Time{}, err
	}
	if raw, found, err := next(ctx, retries, "retries.at.*.*.*."+id, 1); err != nil {
		return time.Time{}, err
	} else if found {
		if record, err := delivery.ParseRetry(raw.Data); err == nil {
			shown.key = record.Due().Endpoint
			return record.First, nil
		}
	}
	dead, err := o.stream(ctx, stream.DeadLetters)
	if err != nil {
		return time.Time{}, err
	}
	if raw, found, err := next(ctx, dead, "deadletters.*.*."+id, 1); err != nil {
		return time.Time{}, err
	} else if found {
		if letter, err := parseLetter(raw.Subject, raw.Data); err == nil {
			shown.key = letter.Key()
			return letter.First, nil
		}
	}
	newest, err := o.Deliveries(ctx, Filter{Deliveries: []delivery.ID{shown.Delivery}, Limit: 1})
	if err != nil {
		return time.Time{}, err
	}
	if len(newest) > 0 {
		shown.key = endpoint.Key{Tenant: newest[0].Tenant, Name: newest[0].Endpoint}
		return newest[0].First, nil
	}
	return o.locateWaiting(ctx, shown)
}

// locateWaiting finds one that was never attempted.
func (o *Operator) locateWaiting(ctx context.Context, shown *Shown) (first time.Time, err error) {
	err = o.scan(ctx, stream.Backlog, []string{"backlog.>"}, from{}, func(m message) error {
		record, err := delivery.ParseRetry(m.Data())
		if err != nil || record.Delivery != shown.Delivery {
			return nil //nolint:nilerr // a foreign message
		}
		shown.key, first = record.Due().Endpoint, record.First
		return errEnough
	})
	return first, err
}

// skew is how much the clocks of the broker and of dispatchers may differ before a receipt is missed.
const skew = time.Minute

// fill reads the attempts, the dead letter and the place.
func (o *Operator) fill(ctx context.Context, shown *Shown, first time.Time) error {
	ids := map[delivery.ID]struct{}{shown.Delivery: {}}
	all, err := o.attempts(ctx, shown.key, ids, first.Add(-skew))
	if list := all[shown.Delivery]; err == nil && (len(list) == 0 || list[0].Attempt > 1) {
		// The time of a delivery whose payload travels along counts from its replay: look further back.
		all, err = o.attempts(ctx, shown.key, ids, time.Time{})
	}
	if err != nil {
		return err
	}
	return o.complete(ctx, shown, all[shown.Delivery])
}

// complete finds the place of a delivery whose attempts are known.
func (o *Operator) complete(ctx context.Context, shown *Shown, attempts []receipt.Receipt) error {
	shown.Endpoint = shown.key.String()
	if shown.Attempts = attempts; attempts == nil {
		shown.Attempts = []receipt.Receipt{}
	}
	if err := o.place(ctx, shown); err != nil {
		return err
	}
	shown.Words = shown.words()
	return nil
}

// place looks where a delivery stands. It knows key and attempts.
func (o *Operator) place(ctx context.Context, shown *Shown) error {
	letters, err := o.stream(ctx, stream.DeadLetters)
	if err != nil {
		return err
	}
	raw, found, err := next(ctx, letters, stream.DeadLetterSubject(shown.key, string(shown.Delivery)), 1)
	if err != nil {
		return err
	}
	if found {
		letter, err := parseLetter(raw.Subject, raw.Data)
		if err != nil {
			return err
		}
		shown.Letter = &letter
	}
	retries, err := o.stream(ctx, stream.Retries)
	if err != nil {
		return err
	}
	raw, found, err = next(ctx, retries, stream.ScheduleSubject(shown.key, shown.Delivery, o.topology.Partitions), 1)
	if err != nil {
		return err
	}
	if found {
		return shown.scheduled(raw)
	}
	if parked, err := o.parked(ctx, shown); err != nil || parked {
		return err
	}
	return o.ended(ctx, shown)
}

func (s *Shown) scheduled(raw *jetstream.RawStreamMsg) error {
	record, err := delivery.ParseRetry(raw.Data)
	if err != nil {
		return err //nolint:wrapcheck // names the delivery
	}
	s.Place, s.record, s.sequence, s.trace = Scheduled, &record, raw.Sequence, raw.Header.Get("traceparent")
	if at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(raw.Header.Get("Nats-Schedule"), "@at ")); err == nil {
		at = at.UTC()
		s.Due = &at
	}
	return nil
}

func (o *Operator) parked(ctx context.Context, shown *Shown) (found bool, err error) {
	subject := stream.BacklogSubject(shown.key, o.topology.Partitions)
	err = o.scan(ctx, stream.Backlog, []string{subject}, from{}, func(m message) error {
		if !bytes.Contains(m.Data(), []byte(shown.Delivery)) {
			return nil
		}
		record, err := delivery.ParseRetry(m.Data())
		if err != nil || record.Delivery != shown.Delivery {
			return nil //nolint:nilerr // a foreign message
		}
		shown.Place, shown.record, found = Parked, &record, true
		return errEnough
	})
	return found, err
}

// inFlight is how many requests of one endpoint are looked at in DELIVERIES. A longer queue of one endpoint means that a
// delivery that stands nowhere else is taken for one of them.
const inFlight = 256

// ended looks for the delivery where it is for a moment only, and concludes.
func (o *Operator) ended(ctx context.Context, shown *Shown) error {
	underway := func(raw *jetstream.RawStreamMsg) bool {
		signed, err := stream.ParseSigned(raw.Subject, raw.Header, raw.Data)
		// A request of an attempt that has a receipt waits only for its ack.
		return err == nil && signed.Delivery.ID == shown.Delivery && signed.Delivery.Attempt > shown.made()
	}
	due := func(raw *jetstream.RawStreamMsg) bool {
		record, err := delivery.ParseRetry(raw.Data)
		return err == nil && record.Delivery == shown.Delivery && record.Attempt > shown.made()
	}
	shown.Place = Sending
	for _, look := range []struct {
		stream, subject string
		at              func(*jetstream.RawStreamMsg) bool
	}{
		{stream.Retries, stream.DueSubject(shown.key, o.topology.Partitions), due},
		{stream.Deliveries, stream.DeliverySubject(shown.key, o.topology.Partitions), underway},
	} {
		if found, err := o.look(ctx, look.stream, look.subject, look.at); err != nil || found {
			return err
		}
	}
	shown.Place = shown.conclude()
	return nil
}

// look asks about the first messages on a subject.
func (o *Operator) look(ctx context.Context, name, subject string, at func(*jetstream.RawStreamMsg) bool) (bool, error) {
	s, err := o.stream(ctx, name)
	if err != nil {
		return false, err
	}
	sequence := uint64(1)
	for range inFlight {
		raw, found, err := next(ctx, s, subject, sequence)
		if err != nil || !found {
			return false, err
		}
		if at(raw) {
			return true, nil
		}
		sequence = raw.Sequence + 1
	}
	return false, nil
}

// made is the last attempt that has a receipt.
func (s *Shown) made() int {
	if len(s.Attempts) == 0 {
		return 0
	}
	return s.Attempts[len(s.Attempts)-1].Attempt
}

// conclude judges a delivery that stands in no queue.
func (s *Shown) conclude() string {
	if len(s.Attempts) > 0 {
		switch newest := s.Attempts[len(s.Attempts)-1]; {
		case newest.Outcome == delivery.Delivered:
			return Delivered
		case newest.Next == nil, s.Letter != nil && s.Letter.Attempt >= newest.Attempt:
			return Dead
		}
		return Sending
	}
	if s.Letter != nil {
		return Dead
	}
	return Sending
}

func (s *Shown) words() string {
	switch s.Place {
	case Delivered:
		newest := s.Attempts[len(s.Attempts)-1]
		words := fmt.Sprintf("delivered at %s with attempt %d", stamp(newest.At.Add(newest.Duration)), newest.Attempt)
		if s.Letter != nil && s.Letter.At.Before(newest.At) {
			words += fmt.Sprintf("; it had been given up at %s and was replayed (its dead letter stays until it ages out)", stamp(s.Letter.At))
		}
		return words
	case Scheduled:
		words := fmt.Sprintf("waits for attempt %d", s.record.Attempt)
		if s.Due != nil {
			words += ", due at " + stamp(*s.Due)
		}
		if s.Letter != nil {
			words += "; it had been given up and was replayed"
		}
		return words
	case Parked:
		return fmt.Sprintf("waits in the backlog of %s for attempt %d; `handfast endpoint get %s` says why, and `handfast endpoint resume %s` lets a paused endpoint go on",
			s.Endpoint, s.record.Attempt, s.Endpoint, s.Endpoint)
	case Dead:
		words := fmt.Sprintf("given up after attempt %d; mend the cause, then `handfast delivery replay %s`", s.last(), s.Delivery)
		if s.Letter != nil {
			words = fmt.Sprintf("given up at %s after attempt %d; mend the cause, then `handfast delivery replay %s`", stamp(s.Letter.At), s.last(), s.Delivery)
		}
		return words
	}
	return fmt.Sprintf("on its way: attempt %d is signed, sent or settled at this moment", s.last()+1)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
