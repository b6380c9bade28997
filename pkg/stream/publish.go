package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publisher publishes without waiting and makes every acknowledgement count.
type Publisher struct {
	js jetstream.JetStream
}

// ackTimeout is how long a publish may go unacknowledged; the source is not acked then, so nothing is lost.
const ackTimeout = 10 * time.Second

// NewPublisher opens a publishing context on the connection.
func NewPublisher(nc *nats.Conn) (*Publisher, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(8192), jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Publisher{js: js}, nil
}

// Pending is a publish that is not acknowledged yet.
type Pending struct {
	future jetstream.PubAckFuture
	err    error
}

// Send publishes. The id, when given, lets the broker drop a repetition inside the stream's duplicate window. A failure
// to send shows at Wait.
func (p *Publisher) Send(msg *nats.Msg, id string) Pending {
	// The default stall wait of 200 ms looks like loss under load.
	options := []jetstream.PublishOpt{jetstream.WithStallWait(5 * time.Second)}
	if id != "" {
		options = append(options, jetstream.WithMsgID(id))
	}
	future, err := p.js.PublishMsgAsync(msg, options...)
	return Pending{future: future, err: err}
}

// Wait blocks until the broker has stored the message. duplicate tells that it held it already.
func (p Pending) Wait(ctx context.Context) (duplicate bool, err error) {
	if p.err != nil {
		return false, fmt.Errorf("publish: %w", p.err)
	}
	select {
	case ack := <-p.future.Ok():
		return ack.Duplicate, nil
	case err := <-p.future.Err():
		return false, fmt.Errorf("publish to %s: %w", p.future.Msg().Subject, err)
	case <-ctx.Done():
		return false, fmt.Errorf("publish to %s: %w", p.future.Msg().Subject, ctx.Err())
	}
}

// Error codes of the server that the client library does not name.
const (
	noResources jetstream.ErrorCode = 10023
	storeFull   jetstream.ErrorCode = 10047
	streamLimit jetstream.ErrorCode = 10077 // messages, bytes or messages per subject
)

// IsFull reports that a stream refused a message because it has no room.
func IsFull(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	return api.ErrorCode == streamLimit || api.ErrorCode == storeFull || api.ErrorCode == noResources
}
