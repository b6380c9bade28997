package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ackTimeout is how long a publish may go unacknowledged; the source is not acked then, so nothing is lost.
const ackTimeout = 10 * time.Second

// Publisher publishes without waiting and makes every acknowledgement count. All acknowledgements come to one inbox, with
// nothing set up and torn down for each; there are three of them for every delivery.
type Publisher struct {
	nc    *nats.Conn
	inbox string

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*future
	sweeper *time.Timer
	// reconnects is what the connection had counted at the last sweep.
	reconnects uint64
	spare      sync.Pool
}

type future struct {
	done    chan ack
	confirm bool // what was published is an acknowledgement, whose answer is empty
	subject string
	until   time.Time
}

type ack struct {
	duplicate bool
	err       error
}

// NewPublisher opens the inbox for acknowledgements; it lives as long as the connection.
func NewPublisher(nc *nats.Conn) (*Publisher, error) {
	p := &Publisher{nc: nc, inbox: nc.NewInbox() + ".", waiting: make(map[uint64]*future)}
	p.spare.New = func() any { return &future{done: make(chan ack, 1)} }
	if _, err := nc.Subscribe(p.inbox+"*", p.receive); err != nil {
		return nil, fmt.Errorf("open an inbox for acknowledgements: %w", err)
	}
	return p, nil
}

// Pending is a publish that is not acknowledged yet. Wait for it exactly once.
type Pending struct {
	publisher *Publisher
	token     uint64
	future    *future
	err       error
}

// Send publishes. The id, when given, lets the broker drop a repetition inside the stream's duplicate window. A failure
// to send shows at Wait.
func (p *Publisher) Send(msg *nats.Msg, id string) Pending {
	if id != "" {
		if msg.Header == nil {
			msg.Header = make(nats.Header, 1)
		}
		msg.Header[jetstream.MsgIDHeader] = []string{id}
	}
	return p.send(msg, false)
}

// Confirm acknowledges a message and asks the broker to say that it has the acknowledgement.
func (p *Publisher) Confirm(msg jetstream.Msg) Pending {
	return p.send(&nats.Msg{Subject: msg.Reply(), Data: []byte("+ACK")}, true)
}

func (p *Publisher) send(msg *nats.Msg, confirm bool) Pending {
	f, _ := p.spare.Get().(*future)
	f.subject, f.confirm, f.until = msg.Subject, confirm, time.Now().Add(ackTimeout)
	p.mu.Lock()
	p.last++
	token := p.last
	p.waiting[token] = f
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(time.Second, p.sweep)
	}
	p.mu.Unlock()
	msg.Reply = p.inbox + strconv.FormatUint(token, 36)
	if err := p.nc.PublishMsg(msg); err != nil {
		p.take(token)
		return Pending{err: fmt.Errorf("publish to %s: %w", msg.Subject, err)}
	}
	return Pending{publisher: p, token: token, future: f}
}

func (p *Publisher) take(token uint64) *future {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.waiting[token]
	delete(p.waiting, token)
	return f
}

func (p *Publisher) receive(msg *nats.Msg) {
	token, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, p.inbox), 36, 64)
	if err != nil {
		return // not an answer to us
	}
	if f := p.take(token); f != nil {
		f.done <- readAck(msg, f.confirm)
	}
}

// ErrNoStream says that no stream takes messages of a subject: the topology is missing, or the broker is not ready.
var ErrNoStream = errors.New("no stream takes this subject; was `handfast topology apply` run on this NATS server?")

// errForeignAnswer says that somebody answered, but that it was not a stream that has stored the message. Anybody who may
// subscribe to a subject may answer what is published there.
var errForeignAnswer = errors.New("the answer does not say that a stream has stored it")

// errNoRoom says what to do about a stream that is full.
var errNoRoom = errors.New("the stream is full and takes nothing until room is made; `handfast topology apply --max-bytes` gives it more")

// readAck reads the broker's answer. That to a publish must name the stream that has stored it, because a source is acked
// on the strength of it; that to an acknowledgement is empty.
func readAck(msg *nats.Msg, confirm bool) ack {
	if len(msg.Data) == 0 {
		switch {
		case msg.Header.Get("Status") == "503":
			return ack{err: ErrNoStream}
		case confirm:
			return ack{}
		}
		return ack{err: errForeignAnswer}
	}
	var answer struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	if stored, duplicate := plainAck(msg.Data); stored {
		return ack{duplicate: duplicate}
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return ack{err: fmt.Errorf("%w: %w", errForeignAnswer, err)}
	}
	switch {
	case answer.Error != nil && IsFull(answer.Error):
		return ack{err: fmt.Errorf("%w: %w", errNoRoom, answer.Error)}
	case answer.Error != nil:
		return ack{err: answer.Error}
	case answer.Stream == "" || answer.Sequence == 0:
		return ack{err: errForeignAnswer}
	}
	return ack{duplicate: answer.Duplicate}
}

// plainAck knows the one form in which a server of today says that it has stored a message, `{"stream":"NAME","seq":7}`
// with `,"duplicate": true` perhaps, without the cost of a JSON reader. It says no to everything else.
func plainAck(data []byte) (stored, duplicate bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"stream":"`))
	if !ok {
		return false, false
	}
	name, rest, ok := bytes.Cut(rest, []byte(`"`))
	if !ok || len(name) == 0 || bytes.IndexByte(name, '\\') >= 0 {
		return false, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"seq":`)); !ok {
		return false, false
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits == 0 || rest[0] == '0' {
		return false, false
	}
	switch string(rest[digits:]) {
	case "}":
		return true, false
	case `,"duplicate": true}`, `,"duplicate":true}`:
		return true, true
	}
	return false, false
}

// ErrNotAcknowledged says that the broker did not answer in time. Whether it has stored the message is unknown: publish
// it again under the same id.
var ErrNotAcknowledged = errors.New("the broker did not acknowledge within " + ackTimeout.String())

// sweep ends what the broker will not answer any more, for example because the connection was lost.
func (p *Publisher) sweep() {
	// What was published on a connection that has broken since is not answered on the next one.
	connected, reconnects := p.nc.IsConnected(), p.nc.Stats().Reconnects
	p.mu.Lock()
	now := time.Now()
	broken := !connected || reconnects != p.reconnects
	p.reconnects = reconnects
	var late []*future
	for token, f := range p.waiting {
		if !broken && now.Before(f.until) {
			continue
		}
		delete(p.waiting, token)
		late = append(late, f)
	}
	p.sweeper = nil
	if len(p.waiting) > 0 {
		p.sweeper = time.AfterFunc(time.Second, p.sweep)
	}
	p.mu.Unlock()
	for _, f := range late {
		f.done <- ack{err: ErrNotAcknowledged}
	}
}

// Wait blocks until the broker has stored the message. duplicate tells that it held it already.
func (p Pending) Wait(ctx context.Context) (duplicate bool, err error) {
	if p.err != nil {
		return false, p.err
	}
	select {
	case a := <-p.future.done:
		subject := p.future.subject
		p.publisher.spare.Put(p.future)
		if a.err != nil {
			return false, fmt.Errorf("publish to %s: %w", subject, a.err)
		}
		return a.duplicate, nil
	case <-ctx.Done():
		subject := p.future.subject
		p.publisher.take(p.token) // not reused: an answer may be on its way into it
		return false, fmt.Errorf("publish to %s: %w", subject, ctx.Err())
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
