package signer

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
)

// unreadyError says that a delivery cannot be signed at present, for a reason that may be its own: its payload, its
// endpoint's keys or policy, or what a scheme makes of it. Trouble with the broker is none: it concerns everybody.
type unreadyError struct{ cause error }

func (e *unreadyError) Error() string { return e.cause.Error() }

func (e *unreadyError) Unwrap() error { return e.cause }

// unready marks an error as such, unless it says that the broker was not reached in time.
func unready(err error) error {
	for _, everybodys := range []error{
		context.DeadlineExceeded, context.Canceled, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrDisconnected,
	} {
		if errors.Is(err, everybodys) {
			return err
		}
	}
	return &unreadyError{err}
}

// everybodys tells that an error is not a delivery's own.
func everybodys(err error) bool {
	_, own := errors.AsType[*unreadyError](err)
	return !own
}

// later lets one that cannot be signed wait on RETRIES, which has no limit, and not with the broker's consumer: what that
// leaves with signers at a time is for every tenant. Before its event ages out it is given its payload to take along.
func (s *Signer) later(ctx context.Context, record delivery.Retry) error {
	if record.Inline == nil && time.Since(record.First) > stream.Horizon {
		content, err := s.payload(ctx, record)
		if err != nil {
			return err
		}
		if record.Inline, err = s.inline(record.Due(), content); err != nil {
			return err
		}
		record.Schema = content.schema
	}
	pause := pauseRetry << min(record.Resigned, 3)
	record.Resigned++
	msg, id, err := s.topology.ScheduleMessage(record, s.clock.At(time.Now().Add(pause)), traceparent(ctx))
	if err != nil {
		return err //nolint:wrapcheck // says what already
	}
	_, err = s.publisher.Send(msg, id).Wait(ctx)
	return err //nolint:wrapcheck // says what and where already, or is nil
}
