package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// Operator acts for a person on one NATS server. It holds nothing but the connection.
type Operator struct {
	js       jetstream.JetStream
	topology stream.Topology

	// Trouble, when set, is told what interrupts something that is followed; it goes on by itself. It may be called by
	// several goroutines.
	Trouble func(error)
}

// New makes an Operator on an open connection.
func New(js jetstream.JetStream, topology stream.Topology) *Operator {
	return &Operator{js: js, topology: topology}
}

// NotFoundError says that something that was named does not exist, and where to look for what does.
type NotFoundError struct {
	What, Hint string
}

// Error tells both.
func (e *NotFoundError) Error() string {
	if e.Hint == "" {
		return e.What
	}
	return e.What + "; " + e.Hint
}

// requestTime bounds one request to the broker.
const requestTime = 5 * time.Second

func (o *Operator) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	s, err := o.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", name, explain(err))
	}
	return s, nil
}

// documents is the bucket of endpoints.
func (o *Operator) documents(ctx context.Context) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	kv, err := o.js.KeyValue(ctx, stream.EndpointBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", stream.EndpointBucket, explain(err))
	}
	return kv, nil
}

// explain adds what to do to the errors of the broker that say too little. A request that is not allowed is not
// answered, so that it looks like a slow one.
func explain(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrBucketNotFound):
		return fmt.Errorf("%w (%w)", stream.ErrNoTopology, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the NATS server did not answer: it is overloaded, or this user lacks the permission, which NATS does not tell: %w", err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("this NATS server, or this user's account, has no JetStream; enable it: %w", err)
	}
	return err
}

// next reads the first message on a subject, which may hold wildcards, at a sequence or later.
func next(ctx context.Context, s jetstream.Stream, subject string, sequence uint64) (*jetstream.RawStreamMsg, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	msg, err := s.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", subject, explain(err))
	}
	return msg, true, nil
}

func orAny(token string) string {
	if token == "" {
		return "*"
	}
	return token
}

// missing says that there is no such endpoint, and which there are.
func (o *Operator) missing(ctx context.Context, key endpoint.Key) error {
	err := &NotFoundError{What: "there is no endpoint " + key.String()}
	known, _ := o.Endpoints(ctx, key.Tenant) // it only makes the words better
	if len(known) == 0 {
		err.Hint = "tenant " + key.Tenant + " has none; `handfast endpoint list` shows all, and `handfast endpoint apply -f FILE` makes one"
		return err
	}
	names := make([]string, 0, 5)
	for _, e := range known[:min(len(known), cap(names))] {
		names = append(names, e.Key().String())
	}
	err.Hint = "there is " + strings.Join(names, ", ")
	if len(known) > len(names) {
		err.Hint += fmt.Sprintf(" and %d more (`handfast endpoint list --tenant %s`)", len(known)-len(names), key.Tenant)
	}
	return err
}
