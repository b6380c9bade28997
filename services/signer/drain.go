package signer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/stream"
)

// window is how far a drain looks ahead for older deliveries. What was under way when an endpoint began to wait comes
// into its backlog behind younger ones, and there is never more of it than a lane and a few signers hold.
const window = 2 * bundle

// waiting is one record of a backlog.
type waiting struct {
	*jetstream.RawStreamMsg

	record delivery.Retry
}

// drain signs the oldest deliveries of a backlog, in order of age.
func (s *Signer) drain(ctx context.Context, key endpoint.Key) (more bool, err error) {
	ahead, err := s.ahead(ctx, key)
	if err != nil {
		return false, err
	}
	slices.SortStableFunc(ahead, func(a, b waiting) int { return cmp.Compare(a.record.Event, b.record.Event) })
	for _, w := range ahead[:min(len(ahead), bundle)] {
		if err := s.resign(propagator.Extract(ctx, event.Carrier(w.Header)), w.record, "b"+strconv.FormatUint(w.Sequence, 10)); err != nil {
			return false, err
		}
		if err := s.backlog.DeleteMsg(ctx, w.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return false, fmt.Errorf("take a delivery off the backlog of %s: %w", key, err)
		}
	}
	return len(ahead) > bundle, nil
}

// ahead reads the head of a backlog.
func (s *Signer) ahead(ctx context.Context, key endpoint.Key) ([]waiting, error) {
	subject := stream.BacklogSubject(key, s.topology.Partitions)
	var ahead []waiting
	for next := uint64(1); len(ahead) < window; {
		raw, err := s.backlog.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the backlog of %s: %w", key, err)
		}
		next = raw.Sequence + 1
		record, err := delivery.ParseRetry(raw.Data)
		if err != nil {
			s.logger.ErrorContext(ctx, "foreign record in a backlog; left where it is", slog.String("subject", subject), slog.Uint64("sequence", raw.Sequence), slog.Any("error", err))
			continue
		}
		ahead = append(ahead, waiting{RawStreamMsg: raw, record: record})
	}
	return ahead, nil
}
