package signer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// What an endpoint misses while it is disabled stands in DEADLETTERS, one small letter for each event, so that it is seen
// where one looks for what was not delivered, and is replayed as any other letter is. The payload stays in EVENTS. A
// receiver that is gone for good must not push out other endpoints' letters, so there is a bound.

// maxMissed is how many letters one signer writes for one endpoint until its document is applied again; of about 500 bytes
// each.
const maxMissed = 10_000

// missed counts them.
type missed struct {
	most int // of one endpoint

	mu    sync.Mutex
	count map[endpoint.Key]missing
}

type missing struct {
	revision uint64 // of the document that is disabled
	letters  int
}

// next is the number of the letter of one more event, from 1.
func (m *missed) next(to endpoint.Registered) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.count == nil {
		m.count = make(map[endpoint.Key]missing)
	}
	now := m.count[to.Key()]
	if now.revision != to.Revision {
		now = missing{revision: to.Revision}
	}
	now.letters = min(now.letters+1, m.most+1)
	m.count[to.Key()] = now
	return now.letters
}

// forget drops what is known of an endpoint that is no longer disabled.
func (m *missed) forget(key endpoint.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.count, key)
}

// reasons say why there is no delivery, and how to get it.
func (m *missed) reasons(to endpoint.Registered, number int, event uint64) []string {
	all := []string{
		"the endpoint is disabled: " + to.Status.Disabled.Reason,
		fmt.Sprintf("No attempt was made. Apply its document again to enable it, then `handfast deadletter replay --endpoint %s` while its events are kept (7 days)", to.Key()),
	}
	if number == m.most {
		all = append(all, fmt.Sprintf("this is letter %d of this endpoint; what comes after event %d leaves none until its document is applied again", number, event))
	}
	return all
}

// miss keeps the event for an endpoint that is disabled as a dead letter. Beyond the bound there is none; the last one
// says so.
func (s *Signer) miss(ctx context.Context, e *stored, to endpoint.Registered, d delivery.Delivery) (leaving, error) {
	number := s.missed.next(to)
	if number > s.missed.most {
		return nil, nil //nolint:nilnil // nothing is on its way, and nothing is wrong
	}
	outcome := delivery.Gone
	level := slog.LevelDebug
	if number == 1 || number == s.missed.most {
		level = slog.LevelWarn
	}
	s.logger.Log(ctx, level, "event is not delivered because its endpoint is disabled; it is kept as a dead letter",
		slog.String("endpoint", to.Key().String()), slog.Uint64("event", e.sequence), slog.Int("letters", number), slog.Int("at_most", s.missed.most))
	data, err := delivery.DeadLetter{
		Tenant: d.Endpoint.Tenant, Endpoint: d.Endpoint.Name, Delivery: d.ID, Event: d.Event, Outcome: &outcome, Reasons: s.missed.reasons(to, number, e.sequence),
		Body: delivery.Body{Omitted: len(e.body)}, First: d.First, At: time.Now().UTC(),
	}.Encode()
	if err != nil {
		return nil, err //nolint:wrapcheck // says what already
	}
	return sent{s.publisher.Send(&nats.Msg{Subject: stream.DeadLetterSubject(d.Endpoint, string(d.ID)), Data: data}, "")}, nil
}
