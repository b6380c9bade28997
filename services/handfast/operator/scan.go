package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	batchSize = 512
	// idleTime is after how long the broker forgets a reader that has gone.
	idleTime = 30 * time.Second
	// firstBlock and largestBlock bound how many messages a backward reader holds: it begins small, because most lists
	// end soon, and grows.
	firstBlock   = 1024
	largestBlock = 16 * 1024
)

// errEnough is returned by a reader's function that wants no more.
var errEnough = errors.New("enough")

// from says where a reader begins. The zero value is the first message.
type from struct {
	sequence uint64
	time     time.Time
	// now means, to follow: only what comes from now on.
	now bool
}

// message is one message that a reader has met.
type message struct {
	jetstream.Msg

	sequence uint64
	at       time.Time
}

// scan hands on, in order, what stands on the subjects of a stream now. take ends it with errEnough.
func (o *Operator) scan(ctx context.Context, name string, subjects []string, begin from, take func(message) error) error {
	return o.consume(ctx, name, subjects, begin, false, take)
}

// follow is scan that goes on with what comes, until ctx ends or take wants no more. When the connection is lost it goes
// on behind the last message it saw.
func (o *Operator) follow(ctx context.Context, name string, subjects []string, begin from, take func(message) error) error {
	if begin.now {
		s, err := o.stream(ctx, name)
		if err != nil {
			return err
		}
		// A number, so that what comes while the connection is down is not missed.
		begin = from{sequence: s.CachedInfo().State.LastSeq + 1}
	}
	for {
		last := uint64(0)
		err := o.consume(ctx, name, subjects, begin, true, func(m message) error {
			last = m.sequence
			return take(m)
		})
		switch {
		case err == nil, ctx.Err() != nil, o.js.Conn().IsClosed(), taken(err):
			return err
		case last > 0:
			begin = from{sequence: last + 1}
		}
		if o.Trouble != nil {
			o.Trouble(err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeError is an error of the reader's function, which no new connection mends. It says nothing of its own: the function
// has said what there is to say.
type takeError struct{ error }

func (e takeError) Unwrap() error { return e.error }

func taken(err error) bool {
	_, ok := errors.AsType[takeError](err)
	return ok
}

func (o *Operator) consume(ctx context.Context, name string, subjects []string, begin from, live bool, take func(message) error) error {
	consumer, err := o.reader(ctx, name, subjects, begin)
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	defer o.forget(ctx, name, info.Name) // it would go by itself, later
	pending := info.NumPending
	for live || pending > 0 {
		n, left, err := o.fetch(ctx, consumer, live, take)
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			pending = left
		} else if !live {
			return nil // what was pending is gone
		}
	}
	return nil
}

func (o *Operator) forget(ctx context.Context, name, consumer string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = o.js.DeleteConsumer(ctx, name, consumer) // it goes by itself after idleTime
}

func (o *Operator) fetch(ctx context.Context, consumer jetstream.Consumer, live bool, take func(message) error) (n int, left uint64, err error) {
	waiting, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	options := []jetstream.FetchOpt{jetstream.FetchContext(waiting)}
	if deadline, ok := waiting.Deadline(); ok && time.Until(deadline) > 3*time.Second { // a heartbeat must fit in twice
		options = append(options, jetstream.FetchHeartbeat(time.Second))
	}
	batch, err := consumer.Fetch(batchSize, options...)
	if err != nil {
		return 0, 0, fmt.Errorf("read messages: %w", err)
	}
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return n, 0, fmt.Errorf("read messages: %w", err)
		}
		n, left = n+1, meta.NumPending
		if err := take(message{Msg: msg, sequence: meta.Sequence.Stream, at: meta.Timestamp.UTC()}); err != nil {
			if errors.Is(err, errEnough) {
				return n, left, err
			}
			return n, left, takeError{err}
		}
		if left == 0 && !live {
			// A live reader must not do this: what the broker sends to a request that was given up is lost to it.
			cancel()
		}
	}
	if ctx.Err() != nil {
		return n, left, ctx.Err()
	}
	if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return n, left, fmt.Errorf("read messages: %w", err)
	}
	return n, left, nil
}

func (o *Operator) reader(ctx context.Context, name string, subjects []string, begin from) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	config := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, FilterSubjects: subjects, InactiveThreshold: idleTime, MemoryStorage: true,
		DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	switch {
	case begin.sequence > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, begin.sequence
	case !begin.time.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &begin.time
	}
	consumer, err := o.js.CreateConsumer(ctx, name, config)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", name, explain(err))
	}
	return consumer, nil
}

// backwards hands on what stands on the subjects of a stream since a time, newest first. It holds one block at a time.
func (o *Operator) backwards(ctx context.Context, name string, subjects []string, since time.Time, take func(message) error) error {
	s, err := o.stream(ctx, name)
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	lowest, err := o.lowest(ctx, name, subjects, from{time: since})
	if err != nil || lowest == 0 {
		return err
	}
	high, size := state.LastSeq, uint64(firstBlock)
	for high >= lowest {
		low := lowest
		if high-lowest >= size {
			low = high - size + 1
		}
		block, err := o.block(ctx, name, subjects, low, high)
		if err != nil {
			return err
		}
		for _, m := range slices.Backward(block) {
			if err := take(m); errors.Is(err, errEnough) {
				return nil
			} else if err != nil {
				return err
			}
		}
		if low == lowest {
			return nil
		}
		high, size = low-1, min(2*size, largestBlock)
	}
	return nil
}

// lowest is the sequence of the first message there is, 0 for none.
func (o *Operator) lowest(ctx context.Context, name string, subjects []string, begin from) (sequence uint64, err error) {
	err = o.scan(ctx, name, subjects, begin, func(m message) error {
		sequence = m.sequence
		return errEnough
	})
	return sequence, err
}

func (o *Operator) block(ctx context.Context, name string, subjects []string, low, high uint64) ([]message, error) {
	var all []message
	err := o.scan(ctx, name, subjects, from{sequence: low}, func(m message) error {
		if m.sequence > high {
			return errEnough
		}
		all = append(all, m)
		if m.sequence == high {
			return errEnough
		}
		return nil
	})
	return all, err
}
