package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// Orphans returns the messages of a partition that its consumer has behind it and that are still in DELIVERIES. An
// acknowledged message leaves a work queue at once, so there are none, except after a crash of the broker between the two
// steps (seen with kill -9). Nobody would ever be given them again. A message may also be on its way out at this very
// moment: only one that is found twice, some time apart, is an orphan.
func (t Topology) Orphans(ctx context.Context, deliveries jetstream.Stream, consumer jetstream.Consumer, partition int) ([]*jetstream.RawStreamMsg, error) {
	info, err := consumer.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at partition %d: %w", partition, err)
	}
	filter := "deliveries." + strconv.Itoa(partition) + ".>"
	var found []*jetstream.RawStreamMsg
	for next := uint64(1); len(found) < maxOrphans; {
		msg, err := GetMsg(ctx, deliveries, next, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read partition %d: %w", partition, err)
		}
		if msg.Sequence > info.AckFloor.Stream {
			break
		}
		found = append(found, msg)
		next = msg.Sequence + 1
	}
	return found, nil
}

// maxOrphans bounds one look.
const maxOrphans = 256
