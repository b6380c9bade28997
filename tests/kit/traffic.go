package kit

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/require"

	handfastevent "github.com/handfast/handfast/pkg/event"
)

// Traffic publishes events at a steady rate, each until the broker has it.
type Traffic struct {
	world  *World
	tenant string
	types  []string
	every  time.Duration
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex
	sent map[string]time.Time
}

// Traffic starts to publish: every so often one event, of the types in turn. Nothing is published at a moment at which
// the broker is away; it comes when the broker is back.
func (w *World) Traffic(every time.Duration, tenant string, types ...string) *Traffic {
	w.T.Helper()
	w.count++
	ctx, cancel := context.WithCancel(w.T.Context())
	t := &Traffic{world: w, tenant: tenant, types: types, every: every, cancel: cancel, ended: make(chan struct{}), sent: make(map[string]time.Time)}
	go t.run(ctx, "/traffic/"+strconv.Itoa(w.count))
	return t
}

func (t *Traffic) run(ctx context.Context, source string) {
	defer close(t.ended)
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		e := event.New()
		e.SetID(strconv.Itoa(n))
		e.SetSource(source)
		e.SetType(t.types[n%len(t.types)])
		if err := e.SetData(event.ApplicationJSON, fmt.Appendf(nil, `{"n":%d}`, n)); err != nil {
			panic(err) // a literal
		}
		for t.publish(ctx, e) != nil {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
		t.mu.Lock()
		t.sent[source+" "+e.ID()] = time.Now()
		t.mu.Unlock()
	}
}

func (t *Traffic) publish(ctx context.Context, e event.Event) error {
	js := t.world.stream()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, _, err := handfastevent.NewPublisher(js, t.world.Tracers()).Publish(ctx, t.tenant, e)
	return err
}

// Stop ends the traffic and tells how many events it has published.
func (t *Traffic) Stop() int {
	t.cancel()
	<-t.ended
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sent)
}

// Arrived fails the test unless every event has come to a receiver, and tells how many came more than once.
func (t *Traffic) Arrived(receivers ...*Receiver) (twice int) {
	t.world.T.Helper()
	seen := make(map[string]int)
	for _, r := range receivers {
		for _, hit := range r.Hits() {
			seen[hit.event()]++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := range t.sent {
		require.Positive(t.world.T, seen[e], "event %s has not arrived", e)
		twice += seen[e] - 1
	}
	return twice
}
