package rotation

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// receivers answer probes and attempts.
type receivers struct {
	mu      sync.Mutex
	answers map[endpoint.Key]func(identity string) Result
	probes  map[endpoint.Key][]time.Time // under the next identity
	proved  map[endpoint.Key]map[string]bool
	took    time.Duration
	at      map[int64]int // exchanges by second
	now     int
	most    int // exchanges at the same time
}

func newReceivers() *receivers {
	return &receivers{
		answers: map[endpoint.Key]func(string) Result{}, probes: map[endpoint.Key][]time.Time{},
		proved: map[endpoint.Key]map[string]bool{}, at: map[int64]int{},
	}
}

func ok(string) Result { return Result{End: Answered, Status: 204, Basis: Said} }

// knows accepts only the identities listed.
func knows(identities ...string) func(string) Result {
	return func(identity string) Result {
		if slices.Contains(identities, identity) {
			return ok(identity)
		}
		return Result{End: CertificateRefused, Basis: Said, Detail: "alert unknown_ca"}
	}
}

func (w *receivers) set(key endpoint.Key, f func(string) Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[key] = f
}

func (w *receivers) answer(key endpoint.Key, identity string) Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f, found := w.answers[key]; found {
		return f(identity)
	}
	return ok(identity)
}

func (w *receivers) Probe(ctx context.Context, key endpoint.Key, identity string) Result {
	w.mu.Lock()
	w.at[time.Now().Unix()]++
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	if w.took > 0 {
		select {
		case <-time.After(w.took):
		case <-ctx.Done():
		}
	}
	result := w.answer(key, identity)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now--
	if identity != "default" {
		w.probes[key] = append(w.probes[key], time.Now())
	}
	if result.End == Answered && result.Status == 204 && ctx.Err() == nil {
		if w.proved[key] == nil {
			w.proved[key] = map[string]bool{}
		}
		w.proved[key][identity] = true
	}
	return result
}

func (w *receivers) probesOf(key endpoint.Key) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.probes[key])
}

func (w *receivers) hasProved(key endpoint.Key, identity string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proved[key][identity]
}

// crew tells each dispatcher what it owns.
type crew struct {
	mu      sync.Mutex
	alive   []int
	changed chan struct{}
}

func newCrew(n int) *crew {
	c := &crew{changed: make(chan struct{})}
	for i := range n {
		c.alive = append(c.alive, i)
	}
	return c
}

func (c *crew) leave(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive = slices.DeleteFunc(c.alive, func(i int) bool { return i == id })
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *crew) join(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive = append(c.alive, id)
	close(c.changed)
	c.changed = make(chan struct{})
}

// member is one dispatcher's place in the crew. A greedy one believes to own everything.
type member struct {
	crew   *crew
	id     int
	greedy bool
}

func (m member) first(n int) bool {
	m.crew.mu.Lock()
	defer m.crew.mu.Unlock()
	return m.greedy || (len(m.crew.alive) > 0 && m.crew.alive[n%len(m.crew.alive)] == m.id)
}

func (m member) Owns(key endpoint.Key) bool {
	return m.first(int(key.Name[len(key.Name)-1]))
}

func (m member) Leads() bool { return m.first(0) }

func (m member) Changed() <-chan struct{} {
	m.crew.mu.Lock()
	defer m.crew.mu.Unlock()
	return m.crew.changed
}
