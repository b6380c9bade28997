package system

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/event"
)

// publish is the producer: plain nats.go, and an event counts only when the broker has acknowledged it.
func (s *installation) publish(ctx context.Context, l *ledger) error {
	next := make(chan int)
	var workers sync.WaitGroup
	problems := make(chan error, 64)
	for range cap(problems) {
		workers.Go(func() {
			for n := range next {
				if err := s.publishOne(ctx, n); err != nil {
					problems <- err
					return
				}
				l.publish(strconv.Itoa(n), n%endpoints)
			}
		})
	}
	err := pace(ctx, next)
	workers.Wait()
	close(problems)
	for problem := range problems {
		err = errors.Join(err, problem)
	}
	return err
}

// pace gives out the numbers of the events at eventRate.
func pace(ctx context.Context, next chan<- int) error {
	defer close(next)
	tick := time.NewTicker(time.Second / eventRate)
	defer tick.Stop()
	for n := range events {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case next <- n:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// publishOne tries until the event is stored. The same id makes that once, whatever was lost on the way.
func (s *installation) publishOne(ctx context.Context, n int) error {
	id := strconv.Itoa(n)
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := s.js.PublishMsg(attempt, &nats.Msg{
			Subject: "events." + tenant + "." + eventType(n%endpoints),
			Header: nats.Header{
				"ce-specversion": {"1.0"}, "ce-type": {eventType(n % endpoints)}, "ce-source": {source}, "ce-id": {id},
				"ce-datacontenttype": {"application/json"}, nats.MsgIdHdr: {event.MessageID(tenant, source, id)},
			},
			Data: fmt.Appendf(nil, `{"number":%d}`, n),
		})
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("event %d was never acknowledged: %w", n, err)
		}
	}
}
