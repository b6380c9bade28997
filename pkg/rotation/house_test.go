package rotation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

// errCrashed is what a store says to a dispatcher that is dead.
var errCrashed = errors.New("the process is gone")

// fuse lets a dispatcher die at its n-th write, before or after the write stands.
type fuse struct {
	*shelf

	die   context.CancelFunc
	after bool

	mu   sync.Mutex
	left int
}

func (f *fuse) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	return f.Update(ctx, key, value, 0)
}

func (f *fuse) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return 0, errCrashed
	}
	f.left--
	if f.left != 0 {
		return f.shelf.Update(ctx, key, value, last)
	}
	if f.after {
		_, _ = f.shelf.Update(ctx, key, value, last)
	}
	f.die()
	return 0, errCrashed
}

// dispatcher is a process: a board that follows the store, a runner, and an attempt on every endpoint each second.
type dispatcher struct {
	board *Board
	stop  context.CancelFunc
	done  sync.WaitGroup
	dead  context.Context
}

type house struct {
	t         *testing.T
	registry  *registry
	shelf     *shelf
	receivers *receivers
	crew      *crew
	lag       time.Duration
	greedy    bool

	mu        sync.Mutex
	attempts  int
	refusals  int // attempts that a receiver refused
	presented map[string]int
}

func newHouse(t *testing.T, endpoints, dispatchers int) *house {
	t.Helper()
	return &house{
		t: t, registry: newRegistry(endpoints), shelf: newShelf(), receivers: newReceivers(), crew: newCrew(dispatchers),
		lag: 20 * time.Millisecond, presented: map[string]int{},
	}
}

// open starts a dispatcher that dies at its n-th write; never for 0.
func (h *house) open(id, writes int, after bool) *dispatcher {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	d := &dispatcher{board: NewBoard(h.registry), stop: cancel, dead: ctx}
	runner, err := NewRunner(Setup{
		Board: d.board, Prober: h.receivers, Store: &fuse{shelf: h.shelf, die: cancel, after: after, left: writes},
		Owner: member{h.crew, id, h.greedy}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(h.t, err)
	d.done.Go(func() { h.shelf.follow(ctx, d.board, h.lag) })
	d.done.Go(func() { runner.Run(ctx) })
	return d
}

// traffic makes attempts on every endpoint each second for some time, and then each hour, as a dispatcher does, and checks
// who we said to be.
func (h *house) traffic(d *dispatcher, dense time.Duration) {
	d.done.Go(func() {
		over := false
		until, every := time.Now().Add(dense), time.Second
		for {
			if time.Now().After(until) {
				every = time.Hour
			}
			select {
			case <-d.dead.Done():
				return
			case <-time.After(every):
			}
			a, _, err := d.board.Assignment("default")
			if err != nil {
				h.t.Error(err)
			}
			over = over || (a.Rotation == nil && a.Uses == "next")
			for _, target := range h.registry.Live("default") {
				h.attempt(d, target.Key, over)
			}
		}
	})
}

func (h *house) attempt(d *dispatcher, key endpoint.Key, over bool) {
	identity := d.board.Presents("default", key)
	if identity == "next" {
		assert.True(h.t, h.receivers.hasProved(key, "next"), "%s was presented an identity that it never proved", key)
	} else {
		assert.False(h.t, over, "%s was presented the old identity after the rotation had completed", key)
	}
	result := h.receivers.answer(key, identity)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts++
	h.presented[identity]++
	if result.End == CertificateRefused {
		h.refusals++
		d.board.Fell(Fall{Identity: "default", Endpoint: key, Presented: identity, Basis: Said, Reason: result.Detail}, time.Now())
	}
}

// sleep lets virtual time pass.
func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}
