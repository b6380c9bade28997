package signer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

const (
	// fullPause is how long a delivery stays on RETRIES when its endpoint's backlog has no room.
	fullPause = 10 * time.Minute
	// wakePatience is how often a wake-up comes back to a signer that does not know the endpoint's document yet.
	wakePatience = 20
	// lastPause is the longest time after which deliveries that cannot be signed are tried again.
	lastPause = stream.AckWait / 2
)

// park puts a delivery into the backlog of its endpoint, which is paused or held. A backlog that is full sends it to RETRIES.
// source names what is parked: the same event or record is parked once, and a delivery that comes back to be parked again
// is not mistaken for it.
func (s *Signer) park(ctx context.Context, d delivery.Delivery, inline *delivery.Inline, source string) error {
	under, err := s.parking(ctx, d, inline, source)
	for err == nil && under != nil {
		under, err = under.landed(ctx)
	}
	return err
}

// parked is a delivery on its way into a backlog.
type parked struct {
	pending stream.Pending
	signer  *Signer
	record  delivery.Retry
}

// parking begins to park.
func (s *Signer) parking(ctx context.Context, d delivery.Delivery, inline *delivery.Inline, source string) (leaving, error) {
	step := delivery.Step{Attempt: d.Attempt, Resigned: d.Resigned}
	record := delivery.NewRetry(d, step, delivery.LaneFull, "")
	record.Inline = inline
	data, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("write backlog record: %w", err)
	}
	msg := &nats.Msg{Subject: stream.BacklogSubject(d.Endpoint, s.topology.Partitions), Data: data, Header: nats.Header{}}
	if trace := traceparent(ctx); trace != "" {
		msg.Header["traceparent"] = []string{trace}
	}
	return parked{s.publisher.Send(msg, turnID(d, source)), s, record}, nil
}

// landed also looks whether the endpoint still waits: what let it go may have looked for deliveries in its backlog a moment
// before this one came into it, and nobody else would for a minute.
func (p parked) landed(ctx context.Context) (leaving, error) {
	_, err := p.pending.Wait(ctx)
	if err == nil {
		key := p.record.Due().Endpoint
		if to, ok := p.signer.endpoints.Get(key); ok && !to.Waiting() {
			p.signer.tending.add(key, to.Revision)
		}
	}
	if !stream.IsFull(err) {
		return nil, err //nolint:wrapcheck // says what and where already, or is nil
	}
	p.record.Resigned++
	later, id, err := p.signer.topology.ScheduleMessage(p.record, p.signer.clock.At(time.Now().Add(fullPause)), traceparent(ctx))
	if err != nil {
		return nil, err //nolint:wrapcheck // says what already
	}
	return sent{p.signer.publisher.Send(later, id)}, nil
}

// tending is the set of endpoints to look after soon.
type tending struct {
	mu    sync.Mutex
	keys  map[endpoint.Key]uint64 // with the revision of the cause
	ready chan struct{}
}

func newTending() *tending {
	return &tending{keys: make(map[endpoint.Key]uint64), ready: make(chan struct{}, 1)}
}

// add never blocks.
func (t *tending) add(key endpoint.Key, cause uint64) {
	t.mu.Lock()
	t.keys[key] = cause
	t.mu.Unlock()
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

func (t *tending) take() map[endpoint.Key]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.keys
	t.keys = make(map[endpoint.Key]uint64)
	return taken
}

// tend looks after endpoints whose documents have come into force: it makes their first keys, and wakes those that may
// go on. Now and then it looks for waiting endpoints that nobody has woken.
func (s *Signer) tend(ctx context.Context) {
	tick := time.NewTicker(s.config.TendInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.tending.ready:
			for key, cause := range s.tending.take() {
				s.tendOne(ctx, key, cause)
			}
		case <-tick.C:
			if err := s.clock.Look(ctx, s.backlog, s.logger); err != nil && ctx.Err() == nil {
				s.logger.WarnContext(ctx, "cannot compare the clocks", slog.Any("error", err))
			}
			s.tendWaiting(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Signer) tendOne(ctx context.Context, key endpoint.Key, cause uint64) {
	to, ok := s.endpoints.Get(key)
	if !ok {
		s.missed.forget(key)
		return
	}
	schemes := to.Signature.Signing(time.Now())
	err := allowed(to, schemes)
	if err == nil {
		_, err = s.keyring.Ring(ctx, key, schemes)
	}
	if err != nil && ctx.Err() == nil {
		s.logger.ErrorContext(ctx, "endpoint has no usable signing keys; its deliveries wait", slog.String("endpoint", key.String()), slog.Any("error", err))
	}
	if !to.Disabled() {
		s.missed.forget(key)
	}
	if to.Waiting() {
		return
	}
	if err := s.callWaiting(ctx, key, "r"+strconv.FormatUint(cause, 10)); err != nil && ctx.Err() == nil {
		s.logger.WarnContext(ctx, "could not wake an endpoint; trying again within a minute", slog.String("endpoint", key.String()), slog.Any("error", err))
	}
}

// tendWaiting wakes every endpoint that has a backlog and no reason for it, the deleted ones included, whose deliveries
// end as dead letters.
func (s *Signer) tendWaiting(ctx context.Context) {
	info, err := s.backlog.Info(ctx, jetstream.WithSubjectFilter("backlog.>"))
	if err != nil {
		if ctx.Err() == nil {
			s.logger.WarnContext(ctx, "cannot look for waiting endpoints", slog.Any("error", err))
		}
		return
	}
	if !info.Created.Equal(s.keptIn) {
		s.kept, s.keptIn = nil, info.Created // another backlog, which counts from the beginning
	}
	maps.DeleteFunc(s.kept, func(key endpoint.Key, _ uint64) bool {
		return info.State.Subjects[stream.BacklogSubject(key, s.topology.Partitions)] == 0
	})
	for subject := range info.State.Subjects {
		parts := strings.Split(subject, ".")
		if len(parts) != 4 {
			continue
		}
		key := endpoint.Key{Tenant: parts[2], Name: parts[3]}
		if to, ok := s.endpoints.Get(key); ok && to.Waiting() {
			if err := s.preserve(ctx, key); err != nil && ctx.Err() == nil {
				s.logger.WarnContext(ctx, "could not keep the payload of waiting deliveries; trying again within a minute", slog.String("endpoint", key.String()), slog.Any("error", err))
			}
			continue
		}
		if err := s.callWaiting(ctx, key, "t"+strconv.FormatInt(time.Now().Unix()/60, 10)); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "could not wake an endpoint", slog.String("endpoint", key.String()), slog.Any("error", err))
		}
	}
}

// callWaiting puts a wake-up token on the way when the endpoint has a backlog. Signers that have the same cause make the
// same token, and the broker keeps one.
func (s *Signer) callWaiting(ctx context.Context, key endpoint.Key, cause string) error {
	head, err := stream.GetMsg(ctx, s.backlog, 1, jetstream.WithGetMsgSubject(stream.BacklogSubject(key, s.topology.Partitions)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the backlog of %s: %w", key, err)
	}
	token := cause + "." + strconv.FormatUint(head.Sequence, 10)
	msg := &nats.Msg{Subject: stream.DueSubject(key, s.topology.Partitions), Header: nats.Header{stream.WakeHeader: {key.String()}}}
	_, err = s.publisher.Send(msg, "wake."+key.String()+"."+token).Wait(ctx)
	return err //nolint:wrapcheck // says what and where already, or is nil
}

// wake signs what waits for an endpoint.
func (s *Signer) wake(ctx context.Context, msg jetstream.Msg, name string, delivered uint64) {
	key, err := endpoint.ParseKey(name)
	if err != nil {
		s.refuseRetry(ctx, msg, err)
		return
	}
	if to, ok := s.endpoints.Get(key); ok && to.Waiting() {
		if delivered < wakePatience {
			s.giveBack(ctx, msg, time.Second) // resumed or released a moment ago, perhaps: this signer will know soon
			return
		}
		s.done(ctx, msg) // it waits again; resuming makes a new token
		return
	}
	switch s.draining.begin(key, time.Now()) {
	case under:
		s.done(ctx, msg) // the one that is at it looks again when it is through
		return
	case crowd:
		if delivered < wakePatience {
			s.giveBack(ctx, msg, pauseRetry)
		} else {
			s.done(ctx, msg) // tendWaiting makes another one; this one must not be in the way of retries for longer
		}
		return
	case itsTurn:
	}
	// Looking through a long backlog over a slow way takes its time, for which the token stays with this signer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*stream.AckWait)
	defer cancel()
	go hold(ctx, msg)
	more, err := s.drain(ctx, key)
	s.draining.end(key)
	if err == nil && more && s.draining.waited(time.Now()) {
		s.giveBack(ctx, msg, pauseRetry) // the others first
		return
	}
	if err == nil && more {
		err = s.callWaiting(ctx, key, "b"+strconv.FormatInt(time.Now().UnixNano(), 36))
	}
	if err != nil {
		s.logger.WarnContext(ctx, "backlog could not be signed; trying again", slog.String("endpoint", key.String()), slog.Any("error", err))
		pause := pauseRetry
		if _, theirs := errors.AsType[*unreadyError](err); theirs {
			pause = min(lastPause, pauseRetry<<min(delivered-1, 8)) // nobody else waits for them
		}
		s.giveBack(ctx, msg, pause)
		return
	}
	s.done(ctx, msg)
}

// hold keeps a message with this signer until ctx ends.
func hold(ctx context.Context, msg jetstream.Msg) {
	tick := time.NewTicker(stream.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = msg.InProgress() // the next one may come through, and else the message comes again
		case <-ctx.Done():
			return
		}
	}
}
