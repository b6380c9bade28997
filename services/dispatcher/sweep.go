package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
)

// sweep looks after the clock and this dispatcher's partitions now and then: it frees the schedules that a full store has held up, and
// the deliveries that a crash of the broker has left behind.
func (d *Dispatcher) sweep(ctx context.Context) {
	tick := time.NewTicker(d.config.SweepInterval)
	defer tick.Stop()
	seen := make(map[uint64]bool)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := d.clock.Look(ctx, d.retries, d.logger); err != nil && ctx.Err() == nil {
			d.logger.WarnContext(ctx, "cannot compare the clocks", slog.Any("error", err))
		}
		now := make(map[uint64]bool)
		for p := range d.partitions {
			if d.members.Rank(p) != 0 {
				continue
			}
			freed, err := d.topology.Sweep(ctx, d.retries, d.js, p, d.clock.At(time.Now()))
			if freed > 0 {
				d.logger.WarnContext(ctx, "freed retries that were overdue; the store was probably full when they were due",
					slog.Int("partition", p), slog.Int("retries", freed))
			}
			if err == nil {
				err = d.adopt(ctx, p, seen, now)
			}
			if err != nil && ctx.Err() == nil {
				d.logger.WarnContext(ctx, "cannot look for what is stuck", slog.Int("partition", p), slog.Any("error", err))
			}
		}
		seen = now
	}
}

// adopt sends the orphans of a partition, those that the sweep before has seen too, through RETRIES to be signed again.
// They have most probably been delivered: a repetition is the price for never losing one.
func (d *Dispatcher) adopt(ctx context.Context, p int, before, now map[uint64]bool) error {
	orphans, err := d.topology.Orphans(ctx, d.deliveries, d.partitions[p], p)
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	for _, orphan := range orphans {
		now[orphan.Sequence] = true
		if !before[orphan.Sequence] {
			continue
		}
		signed, err := stream.ParseSigned(orphan.Subject, orphan.Header, orphan.Data)
		if err != nil { // not ours, and no reason to leave those behind it
			d.logger.ErrorContext(ctx, "foreign message among the deliveries; left where it is", slog.String("subject", orphan.Subject), slog.Uint64("sequence", orphan.Sequence), slog.Any("error", err))
			continue
		}
		del := signed.Delivery
		record := delivery.NewRetry(del, delivery.Step{Attempt: del.Attempt, Resigned: del.Resigned + 1}, delivery.StaleSignature, signed.Previous)
		record.Inline = &delivery.Inline{
			ContentType: signed.Header.Get("Content-Type"), Body: signed.Body, Type: signed.Type, Source: signed.Source, ID: signed.ID, Stamp: signed.Stamp,
		}
		msg, id, err := d.topology.ScheduleMessage(record, d.clock.At(time.Now()), signed.Trace)
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if _, err := d.publisher.Send(msg, id).Wait(ctx); err != nil {
			return err //nolint:wrapcheck // says what and where already
		}
		if err := d.deliveries.DeleteMsg(ctx, orphan.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("take orphan %d out: %w", orphan.Sequence, err)
		}
		d.logger.WarnContext(ctx, "adopted a delivery that a crash of NATS had left behind; it may be sent twice",
			slog.String("delivery", string(del.ID)), slog.String("endpoint", del.Endpoint.String()))
	}
	return nil
}
