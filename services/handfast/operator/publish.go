package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/stream"
)

// Published is an event that EVENTS holds.
type Published struct {
	Tenant   string `json:"tenant"`
	ID       string `json:"id"`
	Subject  string `json:"subject"`
	Sequence uint64 `json:"sequence"`
	// Duplicate tells that the same source and id was published within the last two minutes; nothing was stored now.
	Duplicate bool `json:"duplicate,omitempty"`
	// Expected are the deliveries that follow from it, as the endpoints stand now.
	Expected []Expected `json:"expected"`

	stored time.Time
}

// Expected is one delivery that an endpoint's filter makes of an event.
type Expected struct {
	Endpoint string      `json:"endpoint"`
	Delivery delivery.ID `json:"delivery"`
	Paused   bool        `json:"paused,omitempty"`
	// Held is the outcome for which the endpoint is held; empty when it is not.
	Held string `json:"held,omitempty"`
}

// Publish publishes an event in binary mode and says which endpoints want it. An event that breaks a rule is an
// *event.InvalidError, and nothing is sent.
func (o *Operator) Publish(ctx context.Context, tenant string, e cloudevents.Event) (Published, error) {
	msg, err := event.NewMessage(tenant, e)
	if err != nil {
		return Published{}, err //nolint:wrapcheck // an *event.InvalidError by contract
	}
	parsed, err := event.Parse(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		return Published{}, err //nolint:wrapcheck // as above
	}
	p := Published{Tenant: tenant, ID: e.ID(), Subject: msg.Subject}
	if p.Expected, err = o.expect(ctx, parsed); err != nil {
		return Published{}, err
	}
	sending, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	publisher := event.NewPublisher(o.js, noop.NewTracerProvider())
	if p.Sequence, p.Duplicate, err = publisher.Publish(sending, tenant, e); err != nil {
		if stream.IsFull(err) {
			return Published{}, fmt.Errorf("the stream EVENTS is full and refuses new events, so nothing was published: %w; raise its bound with `handfast topology apply --max-bytes`", err)
		}
		return Published{}, explain(err)
	}
	// Receipts are looked for from when the event was stored, which for a duplicate is a while ago.
	p.stored = time.Now().Add(-skew)
	if _, raw, _, err := o.event(ctx, p.Sequence); err == nil && raw != nil {
		p.stored = raw.Time
	}
	return p, nil
}

func (o *Operator) expect(ctx context.Context, e event.Event) ([]Expected, error) {
	all, err := o.Endpoints(ctx, e.Tenant())
	if err != nil {
		return nil, err
	}
	expected := []Expected{}
	for _, to := range all {
		if to.Disabled() {
			continue
		}
		// A filter that cannot be evaluated does not match, here as in the signer.
		if wanted, err := to.Match(e); err == nil && wanted {
			x := Expected{Endpoint: to.Key().String(), Delivery: delivery.NewID(e.Digest(), to.Key()), Paused: to.Paused}
			switch {
			case to.Status.Held != nil:
				x.Held = to.Status.Held.Outcome
			case !to.Activated():
				x.Held = delivery.NotActivated.String()
			}
			expected = append(expected, x)
		}
	}
	return expected, nil
}

// Progress is one thing that happened to an expected delivery.
type Progress struct {
	Endpoint string
	Delivery delivery.ID
	// Receipt is the attempt; nil when the delivery was given up without one, and then Letter says why.
	Receipt *receipt.Receipt
	Letter  *Letter
	// Left is how many deliveries have not ended.
	Left int
	// Dead tells that this one was given up.
	Dead bool
}

// UnfinishedError says that time was over before every delivery had ended.
type UnfinishedError struct {
	Endpoints []string
}

// Error names the endpoints.
func (e *UnfinishedError) Error() string {
	return "time is over, and the event has not yet arrived at " + strings.Join(e.Endpoints, ", ") + "; it is tried further"
}

// DeadError says that deliveries were given up.
type DeadError struct {
	Deliveries []delivery.ID
}

// Error names the deliveries.
func (e *DeadError) Error() string {
	ids := make([]string, len(e.Deliveries))
	for i, id := range e.Deliveries {
		ids[i] = string(id)
	}
	return "given up: " + strings.Join(ids, ", ") + "; mend the cause, then `handfast delivery replay " + ids[0] + "`"
}

// Await follows the deliveries of an event until each has been delivered or given up. The error is a *DeadError when one
// was given up, and an *UnfinishedError when the deadline of ctx came first.
func (o *Operator) Await(ctx context.Context, p Published, each func(Progress) error) error {
	w := waiter{open: make(map[delivery.ID]string), each: each}
	for _, e := range p.Expected {
		w.open[e.Delivery] = e.Endpoint
	}
	if len(w.open) == 0 {
		return nil
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	readers.Go(func() {
		subjects := Filter{Endpoint: endpoint.Key{Tenant: p.Tenant}}.subjects()
		ended <- o.follow(reading, stream.Receipts, subjects, from{time: p.stored}, w.receipt)
	})
	readers.Go(func() {
		ended <- o.follow(reading, stream.DeadLetters, []string{"deadletters." + p.Tenant + ".*.*"}, from{time: p.stored}, refusal(p, w.letter(reading, p.stored)))
	})
	err := <-ended
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &UnfinishedError{Endpoints: w.left()}
	case err != nil:
		return err
	case len(w.dead) > 0:
		return &DeadError{Deliveries: w.dead}
	}
	return nil
}

// waiter collects what two readers see.
type waiter struct {
	mu   sync.Mutex
	open map[delivery.ID]string
	dead []delivery.ID
	each func(Progress) error
}

func (w *waiter) left() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Values(w.open))
}

func (w *waiter) receipt(m message) error {
	r, err := receipt.Parse(m.Data())
	if err != nil {
		return nil //nolint:nilerr // a foreign message
	}
	return w.note(r.Delivery, Progress{Receipt: &r, Dead: r.Outcome != delivery.Delivered && r.Next == nil}, r.Next == nil)
}

// note tells about a delivery that is still open. It wants no more when none is left.
func (w *waiter) note(id delivery.ID, p Progress, ended bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, open := w.open[id]
	if !open {
		return nil
	}
	if ended {
		delete(w.open, id)
		if p.Dead {
			w.dead = append(w.dead, id)
		}
	}
	p.Endpoint, p.Delivery, p.Left = name, id, len(w.open)
	if err := w.each(p); err != nil {
		return err
	}
	if len(w.open) == 0 {
		return errEnough
	}
	return nil
}

// letterPatience is how long the receipt of the last attempt may come after its dead letter. Without one the delivery was
// given up before an attempt.
const letterPatience = time.Second

// letter waits a little for the receipt that tells more than the dead letter. A letter from before the event is that of an
// earlier delivery of the same id.
func (w *waiter) letter(ctx context.Context, since time.Time) func(message) error {
	return func(m message) error {
		l, err := parseLetter(m.Subject(), m.Data())
		if err != nil || m.at.Before(since) {
			return nil //nolint:nilerr // a foreign message
		}
		select {
		case <-time.After(letterPatience):
		case <-ctx.Done():
			return ctx.Err()
		}
		return w.note(delivery.ID(l.ID), Progress{Letter: &l, Dead: true}, true)
	}
}

// Seen is one message of EVENTS.
type Seen struct {
	Sequence uint64    `json:"sequence"`
	At       time.Time `json:"at"`
	Tenant   string    `json:"tenant,omitempty"`
	Subject  string    `json:"subject"`
	// Event is the CloudEvent in JSON; nil when the message is none, and then Problem says why.
	Event   json.RawMessage `json:"event,omitempty"`
	Problem string          `json:"problem,omitempty"`

	Type, Source, ID string `json:"-"`
}

// TailEvents hands on every message of EVENTS as it comes, until ctx ends. kind is a type, or a pattern as in an
// endpoint's filter: "*" is one token, "**" at the end one or more.
func (o *Operator) TailEvents(ctx context.Context, tenant, kind string, take func(Seen) error) error {
	subject := "events." + orAny(tenant) + ".>"
	if kind != "" {
		if before, found := strings.CutSuffix(kind, "**"); found {
			kind = before + ">"
		}
		subject = "events." + orAny(tenant) + "." + kind
	}
	return o.follow(ctx, stream.Events, []string{subject}, from{now: true}, func(m message) error {
		seen := Seen{Sequence: m.sequence, At: m.at, Subject: m.Subject()}
		e, err := event.Parse(m.Subject(), m.Headers(), m.Data())
		if err == nil {
			seen.Tenant, seen.Type, seen.Source, seen.ID = e.Tenant(), e.Type(), e.Source(), e.ID()
			seen.Event, _, err = e.Body()
		}
		if err != nil {
			seen.Problem = err.Error()
		}
		return take(seen)
	})
}
