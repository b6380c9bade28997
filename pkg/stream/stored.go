package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoDirectGet says that a stream was not made by `handfast topology apply`.
var ErrNoDirectGet = errors.New("the stream does not allow direct get; was it made by `handfast topology apply`?")

// GetMsg reads a message of a stream, as [jetstream.Stream.GetMsg] does, with the subject, the sequence and the time that
// the broker knows. The client library believes the headers of the message itself, in which whoever published it may have
// written anything. The error wraps [jetstream.ErrMsgNotFound] when there is none.
func GetMsg(ctx context.Context, from jetstream.Stream, sequence uint64, options ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	name := from.CachedInfo().Config.Name
	if !from.CachedInfo().Config.AllowDirect {
		return nil, fmt.Errorf("read stream %s: %w", name, ErrNoDirectGet) // the broker would add no headers of its own
	}
	// Whoever asks may have much more time, and the answer may be lost with a connection: then it never comes.
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	msg, err := from.GetMsg(ctx, sequence, options...)
	if err != nil {
		return nil, fmt.Errorf("read stream %s from %d on: %w", name, sequence, err)
	}
	if msg.Sequence, err = strconv.ParseUint(lastValue(msg.Header, jetstream.SequenceHeader), 10, 64); err != nil {
		return nil, fmt.Errorf("read stream %s from %d on: sequence: %w", name, sequence, err)
	}
	if msg.Time, err = time.Parse(time.RFC3339Nano, lastValue(msg.Header, jetstream.TimeStampHeaer)); err != nil {
		return nil, fmt.Errorf("read stream %s from %d on: time: %w", name, sequence, err)
	}
	msg.Subject = lastValue(msg.Header, jetstream.SubjectHeader)
	for _, own := range []string{jetstream.StreamHeader, jetstream.SubjectHeader, jetstream.SequenceHeader, jetstream.TimeStampHeaer} {
		msg.Header.Del(own)
	}
	return msg, nil
}
