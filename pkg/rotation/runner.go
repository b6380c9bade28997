package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

const (
	defaultRate        = 20.0
	defaultConcurrency = 4
	defaultSettle      = 10 * time.Second

	// gather is how long changes are gathered before everything is looked at again.
	gather = 250 * time.Millisecond
	// lookAgain is when everything is looked at again although nobody reported a change.
	lookAgain = 5 * time.Minute
	// probeLimit bounds a prober that does not bound itself.
	probeLimit = 2 * time.Minute
	// writePause is the pause after a write that failed or lost, by when the board has seen who won.
	writePause = 5 * time.Second
)

// Prober makes one exchange with an endpoint under one identity: a full handshake on a connection of its own, and an
// OPTIONS request. It sends no byte of a message. It bounds its own time and returns when ctx ends.
type Prober interface {
	Probe(ctx context.Context, key endpoint.Key, identity string) Result
}

// ErrConflict is what the errors of a Store wrap when somebody else has written the entry in the meantime.
var ErrConflict = errors.New("somebody else has written it in the meantime")

// Store writes entries of the bucket "identities", each only if it stands as the caller knows it.
type Store interface {
	// Create writes an entry that does not exist, or not any more. The error wraps [ErrConflict] when it does.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update writes an entry that is at the revision last. The error wraps [ErrConflict] when it is not.
	Update(ctx context.Context, key string, value []byte, last uint64) (revision uint64, err error)
}

// Owner says what this dispatcher is responsible for. At times two believe to be; that does no harm.
type Owner interface {
	// Owns tells whether this dispatcher probes the endpoint: it is first in the order of its partition.
	Owns(key endpoint.Key) bool
	// Leads tells whether this dispatcher ends rotations: it is first in the order of partition 0.
	Leads() bool
	// Changed is closed when an answer of the other two may change next.
	Changed() <-chan struct{}
}

// Setup is what a Runner is made of.
type Setup struct {
	// Board is the view of the store; it must be fed while the Runner runs.
	Board  *Board
	Prober Prober
	Store  Store
	Owner  Owner
	Logger *slog.Logger
	// Rate is how many exchanges begin in a second; 0 stands for 20.
	Rate float64
	// Concurrency is how many endpoints are probed at the same time; 0 stands for 4.
	Concurrency int
	// Settle is how old the last acceptance must be before the rotation ends; 0 stands for 10 s.
	Settle time.Duration
}

// Runner carries rotations on for one dispatcher. All its state is in the store.
type Runner struct {
	board       *Board
	prober      Prober
	store       Store
	owner       Owner
	logger      *slog.Logger
	pace        *pace
	concurrency int
	settle      time.Duration

	// wake tells the schedule that later has a new time in it.
	wake chan struct{}

	mu    sync.Mutex
	busy  map[place]bool
	later map[place]time.Time
}

// place is one endpoint in the rotation of one identity.
type place struct {
	identity string
	key      endpoint.Key
}

type job struct {
	place

	target Target
	due    time.Time
}

// NewRunner checks the setup; the error lists everything that is missing or wrong.
func NewRunner(s Setup) (*Runner, error) {
	var errs []error
	refuse := func(wrong bool, words string) {
		if wrong {
			errs = append(errs, errors.New(words))
		}
	}
	refuse(s.Board == nil, "there is no board")
	refuse(s.Prober == nil, "there is no prober")
	refuse(s.Store == nil, "there is no store")
	refuse(s.Owner == nil, "there is no owner")
	refuse(s.Logger == nil, "there is no logger")
	// The upper bound keeps the gap between two turns above zero; NaN fails both comparisons.
	refuse(!(s.Rate >= 0 && s.Rate <= 1e6), "the rate must be from 0 to 1000000 in a second")
	refuse(s.Concurrency < 0, "the concurrency must not be negative")
	refuse(s.Settle < 0, "the time to settle must not be negative")
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("rotation runner: %w", err)
	}
	if s.Rate == 0 {
		s.Rate = defaultRate
	}
	if s.Concurrency == 0 {
		s.Concurrency = defaultConcurrency
	}
	if s.Settle == 0 {
		s.Settle = defaultSettle
	}
	return &Runner{
		board: s.Board, prober: s.Prober, store: s.Store, owner: s.Owner, logger: s.Logger,
		pace: &pace{gap: time.Duration(float64(time.Second) / s.Rate)}, concurrency: s.Concurrency, settle: s.Settle,
		wake: make(chan struct{}, 1), busy: map[place]bool{}, later: map[place]time.Time{},
	}, nil
}

// Run works until ctx ends, and returns when every probe has ended. It does nothing before the board is loaded. What
// goes wrong is logged and tried again.
func (r *Runner) Run(ctx context.Context) {
	jobs := make(chan job)
	var group sync.WaitGroup
	for range r.concurrency {
		group.Go(func() {
			for j := range jobs {
				r.work(ctx, j)
			}
		})
	}
	group.Go(func() { r.conclude(ctx) })
	r.schedule(ctx, jobs)
	close(jobs)
	group.Wait()
}

// schedule hands out probes when they are due. It looks at everything again after each change, but not more often than
// each gather, because every probe of every dispatcher is a change.
func (r *Runner) schedule(ctx context.Context, jobs chan<- job) {
	look := time.NewTimer(0)
	defer look.Stop()
	var queue []job
	var changed, moved <-chan struct{}
	for {
		var out chan<- job
		var first job
		if len(queue) > 0 {
			out, first = jobs, queue[0]
		}
		select {
		case <-ctx.Done():
			return
		case out <- first:
			queue = queue[1:]
		case <-changed:
			changed = nil
			look.Reset(gather)
		case <-moved:
			moved = nil
			look.Reset(gather)
		case <-r.wake:
			look.Reset(gather)
		case <-look.C:
			// Listen first and look then: what changes in between is seen twice, not missed.
			changed, moved = r.board.Changed(), r.owner.Changed()
			var next time.Time
			queue, next = r.due(time.Now())
			wait := lookAgain
			if !next.IsZero() {
				wait = min(wait, time.Until(next))
			}
			look.Reset(wait)
		}
	}
}

// due lists the probes that are due, the longest due first, and tells when the next one is; zero if none is.
func (r *Runner) due(now time.Time) (queue []job, next time.Time) {
	for _, h := range r.board.rotating() {
		a := h.assignment
		if a.Rotation.State != Running {
			continue
		}
		for _, t := range r.board.endpoints.Live(a.Name) {
			if !r.owner.Owns(t.Key) {
				continue
			}
			at, ok := r.board.entry(a.Name, t.Key).status.of(a.Rotation, t.Mark).due(t)
			p := place{a.Name, t.Key}
			at, free := r.free(p, at)
			switch {
			case !ok || !free:
			case !at.After(now):
				queue = append(queue, job{place: p, target: t, due: at})
			case next.IsZero() || at.Before(next):
				next = at
			}
		}
	}
	slices.SortStableFunc(queue, func(a, b job) int {
		if c := a.due.Compare(b.due); c != 0 {
			return c
		}
		if c := strings.Compare(a.identity, b.identity); c != 0 {
			return c
		}
		return compareKeys(a.key, b.key)
	})
	return queue, next
}

// free tells whether nobody is at a place, and from when on it may be probed, which is not before at.
func (r *Runner) free(p place, at time.Time) (from time.Time, free bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if later := r.later[p]; later.After(at) {
		at = later
	}
	return at, !r.busy[p]
}

// claim takes a place; only one worker holds it at a time.
func (r *Runner) claim(p place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[p] {
		return false
	}
	r.busy[p] = true
	delete(r.later, p)
	return true
}

// release gives a place back, not to be taken again before a time; zero stands for any time.
func (r *Runner) release(p place, later time.Time) {
	r.mu.Lock()
	delete(r.busy, p)
	if !later.IsZero() {
		r.later[p] = later
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
