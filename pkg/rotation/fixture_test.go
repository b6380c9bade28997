package rotation

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// registry is a catalogue of endpoints that all name the identity "default".
type registry struct {
	mu   sync.Mutex
	live map[endpoint.Key]Target
	off  map[endpoint.Key]bool // disabled
}

func newRegistry(n int) *registry {
	r := &registry{live: map[endpoint.Key]Target{}, off: map[endpoint.Key]bool{}}
	for i := range n {
		r.apply(keyOf(i), 1, "mark-1")
	}
	return r
}

func keyOf(i int) endpoint.Key {
	return endpoint.Key{Tenant: fmt.Sprintf("t%d", i%3), Name: fmt.Sprintf("e%03d", i)}
}

func (r *registry) apply(key endpoint.Key, revision uint64, mark string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[key] = Target{Key: key, Revision: revision, Mark: mark}
	delete(r.off, key)
}

func (r *registry) disable(key endpoint.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off[key] = true
}

func (r *registry) get(key endpoint.Key) Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[key]
}

func (r *registry) Live(identity string) []Target {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Target
	for key, t := range r.live {
		if identity == "default" && !r.off[key] {
			all = append(all, t)
		}
	}
	return all
}

func (r *registry) Mark(key endpoint.Key) string { return r.get(key).Mark }

func (r *registry) Partition(key endpoint.Key) int { return len(key.Name) % 4 }

// stored is one write.
type stored struct {
	key      string
	value    []byte
	revision uint64
}

// shelf is the store of all dispatchers, with compare-and-set and a log that boards follow.
type shelf struct {
	mu     sync.Mutex
	log    []stored
	last   map[string]uint64
	grown  chan struct{}
	writes map[string]int
}

func newShelf() *shelf {
	return &shelf{last: map[string]uint64{}, grown: make(chan struct{}), writes: map[string]int{}}
}

func (s *shelf) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return s.Update(ctx, key, value, 0)
}

func (s *shelf) Update(_ context.Context, key string, value []byte, last uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last[key] != last {
		return 0, fmt.Errorf("%s is at %d, not %d: %w", key, s.last[key], last, ErrConflict)
	}
	revision := uint64(len(s.log) + 1)
	s.log = append(s.log, stored{key, bytes.Clone(value), revision})
	s.last[key] = revision
	s.writes[key]++
	close(s.grown)
	s.grown = make(chan struct{})
	return revision, nil
}

func (s *shelf) since(n int) ([]stored, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log[min(n, len(s.log)):]), s.grown
}

// assignment is what stands in the store now.
func (s *shelf) assignment() (Assignment, uint64) {
	all, _ := s.since(0)
	for _, e := range slices.Backward(all) {
		if e.key == AssignmentKey("default") {
			a, err := ParseAssignment(e.value)
			if err != nil {
				panic(err)
			}
			return a, e.revision
		}
	}
	return Assign("default"), 0
}

// change does what a command does: read, change, compare-and-set.
func (s *shelf) change(f func(Assignment) (Assignment, error)) error {
	a, revision := s.assignment()
	a, err := f(a)
	if err != nil {
		return err
	}
	value, err := a.Encode()
	if err != nil {
		return err
	}
	_, err = s.Update(context.Background(), AssignmentKey("default"), value, revision)
	return err
}

func (s *shelf) start(to string) error {
	return s.change(func(a Assignment) (Assignment, error) { return Start(a, to, time.Now(), "ada") })
}

// feed hands one entry to a board.
func feed(b *Board, e stored) error {
	if IsAssignmentKey(e.key) {
		return b.PutAssignment(e.key, e.value, e.revision)
	}
	return b.PutStatus(e.key, e.value, e.revision)
}

// follow keeps a board equal to the store, some time behind.
func (s *shelf) follow(ctx context.Context, b *Board, lag time.Duration) {
	seen := 0
	for ctx.Err() == nil {
		entries, grown := s.since(seen)
		for _, e := range entries {
			if err := feed(b, e); err != nil {
				panic(err)
			}
		}
		seen += len(entries)
		if seen > 0 || len(entries) == 0 {
			b.Loaded()
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(lag):
		case <-ctx.Done():
			return
		}
	}
}
