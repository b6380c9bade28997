package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// fanWidth is how many of one event's messages are on their way to the broker at a time: enough that a tenant with
// thousands of endpoints costs round trips by the hundred and not one for each, and few enough that one event does not
// fill the connection for all others.
const fanWidth = 256

// first is the first attempt of an event's delivery to an endpoint.
func first(e *stored, to endpoint.Registered) delivery.Delivery {
	return delivery.Delivery{
		ID: delivery.NewID(e.Digest(), to.Key()), Endpoint: to.Key(), Event: e.sequence, Attempt: 1, First: e.at,
		Schema: e.content(to).schema,
	}
}

// fanOut publishes one message per endpoint and waits for every ack: a signed request, a record in the backlog of one that
// waits, or a dead letter for one that is disabled. Endpoints that failed get a record on RETRIES when others succeeded,
// because giving the event back would repeat those, and also when nothing is wrong but what is their own: the broker leaves
// signers only so many events at a time, and that room belongs to every tenant. The error means that nothing is stored that
// an ack of the event could stand on.
func (s *Signer) fanOut(ctx context.Context, e *stored, matched []endpoint.Registered) error {
	problems := make([]error, 0, len(matched))
	for some := range slices.Chunk(matched, fanWidth) {
		problems = append(problems, s.fanSome(ctx, e, some)...)
	}
	lost := 0
	for _, problem := range problems {
		if problem != nil {
			lost++
			s.deliveries(ctx, failed)
			continue
		}
		s.deliveries(ctx, kept)
	}
	switch lost {
	case 0:
		return nil
	case len(matched):
		if slices.ContainsFunc(problems, everybodys) {
			return errors.Join(problems...)
		}
	}
	return s.postpone(ctx, e, matched, problems)
}

// leaving is a message on its way to the broker.
type leaving interface {
	// landed waits for the ack. When the place was full and the message has been sent to another one, that is next.
	landed(ctx context.Context) (next leaving, err error)
}

// fanSome has all messages of some endpoints on their way at the same time. It returns what went wrong, in their order.
func (s *Signer) fanSome(ctx context.Context, e *stored, some []endpoint.Registered) []error {
	under, problems := make([]leaving, len(some)), make([]error, len(some))
	for i, to := range some {
		under[i], problems[i] = s.launch(ctx, e, to)
	}
	for open := true; open; {
		open = false
		for i := range some {
			if under[i] == nil || problems[i] != nil {
				continue
			}
			under[i], problems[i] = under[i].landed(ctx)
			open = open || under[i] != nil
		}
	}
	return problems
}

// launch sends what an event comes to at one endpoint.
func (s *Signer) launch(ctx context.Context, e *stored, to endpoint.Registered) (leaving, error) {
	d := first(e, to)
	switch {
	case to.Disabled():
		return s.miss(ctx, e, to, d)
	case to.Waiting():
		return s.parking(ctx, d, nil, "e"+strconv.FormatUint(e.sequence, 10))
	}
	signed, err := s.sign(ctx, e.content(to), to, d)
	if err != nil {
		return nil, unready(err)
	}
	return sent{s.publisher.Send(s.topology.SignedMessage(signed), string(d.ID)+".0")}, nil
}

// sent is a message that has one place only.
type sent struct{ stream.Pending }

func (m sent) landed(ctx context.Context) (leaving, error) {
	_, err := m.Wait(ctx)
	return nil, err //nolint:wrapcheck // says what and where already
}

func (s *Signer) deliveries(ctx context.Context, r result) {
	s.meters.deliveries.Add(ctx, 1, s.meters.results[r])
}

// postpone keeps the deliveries that failed as records that come back soon.
func (s *Signer) postpone(ctx context.Context, e *stored, matched []endpoint.Registered, problems []error) error {
	var pending []stream.Pending
	for i, to := range matched {
		if problems[i] == nil {
			continue
		}
		s.logger.WarnContext(ctx, "request could not be signed or stored; trying again soon",
			slog.String("endpoint", to.Key().String()), slog.Uint64("event", e.sequence), slog.Any("error", problems[i]))
		d := first(e, to)
		step := delivery.Step{Attempt: 1, Resigned: 1}
		msg, id, err := s.topology.ScheduleMessage(delivery.NewRetry(d, step, delivery.StaleSignature, ""), s.clock.At(time.Now().Add(pauseRetry)), traceparent(ctx))
		if err != nil {
			return fmt.Errorf("postpone %s: %w", d.ID, err)
		}
		pending = append(pending, s.publisher.Send(msg, id))
	}
	for _, p := range pending {
		if _, err := p.Wait(ctx); err != nil {
			return fmt.Errorf("postpone: %w", err)
		}
	}
	return nil
}
