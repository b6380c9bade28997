package signer

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
	"github.com/handfast/handfast/pkg/stream"
)

// preserved is how many waiting deliveries are looked at in one go for their events' age.
const preserved = 1024

// preserve gives the oldest deliveries of a waiting endpoint their payload to take along before their events age out.
func (s *Signer) preserve(ctx context.Context, key endpoint.Key) error {
	subject := stream.BacklogSubject(key, s.topology.Partitions)
	if s.kept == nil {
		s.kept = make(map[endpoint.Key]uint64)
	}
	for range preserved {
		next := s.kept[key] + 1
		raw, err := stream.GetMsg(ctx, s.backlog, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the backlog of %s: %w", key, err)
		}
		record, err := delivery.ParseRetry(raw.Data)
		if err != nil || record.Inline != nil {
			s.kept[key] = raw.Sequence
			continue
		}
		if time.Since(record.First) < stream.Horizon {
			return nil // those behind it came later
		}
		content, err := s.payload(ctx, record)
		if _, lost := errors.AsType[*lostError](err); lost || schemaSays(err) {
			s.kept[key] = raw.Sequence
			continue // the drain will say so
		}
		if err != nil {
			return err
		}
		inline, err := s.inline(record.Due(), content)
		if err != nil {
			return err
		}
		if err := s.park(propagator.Extract(ctx, event.Carrier(raw.Header)), record.Due(), inline, "i"+strconv.FormatUint(raw.Sequence, 10)); err != nil {
			return err
		}
		if err := s.backlog.DeleteMsg(ctx, raw.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("replace a record in the backlog of %s: %w", key, err)
		}
		s.kept[key] = raw.Sequence
	}
	return nil
}
