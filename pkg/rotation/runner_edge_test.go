package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

// What a probe finds after somebody has paused the rotation cuts nobody over.
func TestPauseDuringAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, 1)
		h.receivers.took = 10 * time.Second
		d := h.open(0, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 5*time.Second)
		require.NoError(t, h.shelf.change(func(a Assignment) (Assignment, error) { return Pause(a, time.Now(), "ada") }))
		sleep(t, time.Minute)
		require.Len(t, h.receivers.probesOf(keyOf(0)), 1)
		assert.Equal(t, "default", d.board.Presents("default", keyOf(0)))
		s, revision := d.board.Status("default", keyOf(0))
		assert.Zero(t, s)
		assert.Zero(t, revision)
		require.NoError(t, h.shelf.change(func(a Assignment) (Assignment, error) { return Resume(a, time.Now(), "ada") }))
		sleep(t, 25*time.Second)
		assert.Equal(t, "next", d.board.Presents("default", keyOf(0)))
		a, _, err := d.board.Assignment("default")
		require.NoError(t, err)
		assert.Nil(t, a.Rotation)
		d.stop()
		d.done.Wait()
	})
}

// A registry and a store that have not been read yet look like a rotation without endpoints, which is complete.
func TestNothingHappensBeforeTheBoardIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 0, 1)
		require.NoError(t, h.shelf.start("next"))
		board := NewBoard(h.registry)
		entries, _ := h.shelf.since(0)
		require.NoError(t, feed(board, entries[0]))
		runner, err := NewRunner(Setup{Board: board, Prober: h.receivers, Store: h.shelf, Owner: member{h.crew, 0, false}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); runner.Run(ctx) }()
		sleep(t, 24*time.Hour)
		assert.Equal(t, 1, h.shelf.writes[AssignmentKey("default")])
		h.registry.apply(keyOf(0), 1, "m")
		board.Loaded()
		sleep(t, time.Minute)
		assert.Len(t, h.receivers.probesOf(keyOf(0)), 1)
		assert.Equal(t, 2, h.shelf.writes[AssignmentKey("default")])
		cancel()
		<-ended
	})
}

// The rotation does not end in the moment of the last acceptance, but when that has settled.
func TestCompletionWaitsUntilAcceptancesHaveSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 3, 1)
		d := h.open(0, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 10*time.Second)
		p, err := d.board.Progress("default")
		require.NoError(t, err)
		require.NotNil(t, p.Rotation)
		require.Equal(t, 100, p.Percent())
		last := p.AcceptedAt
		sleep(t, time.Second)
		a, _ := h.shelf.assignment()
		require.Nil(t, a.Rotation)
		assert.Equal(t, last.Add(10*time.Second), a.History[0].EndedAt)
		d.stop()
		d.done.Wait()
	})
}

// An entry that somebody deleted, and even purged without a trace, is created again.
func TestARemovedStatusIsCreatedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2, 1)
		h.receivers.set(keyOf(1), knows("default"))
		d := h.open(0, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 5*time.Second)
		require.Equal(t, "next", d.board.Presents("default", keyOf(0)))
		bucketKey := StatusKey("default", h.registry.Partition(keyOf(0)), keyOf(0))
		h.shelf.mu.Lock()
		delete(h.shelf.last, bucketKey)
		h.shelf.mu.Unlock()
		_, revision := d.board.Status("default", keyOf(0))
		d.board.Remove(bucketKey, revision+1000)
		require.Equal(t, "default", d.board.Presents("default", keyOf(0)))
		h.shelf.mu.Lock()
		h.shelf.log = append(h.shelf.log, make([]stored, 2000)...) // revisions go on after that of the removal
		h.shelf.mu.Unlock()
		d.stop()
		d.done.Wait()
		runner, err := NewRunner(Setup{Board: d.board, Prober: h.receivers, Store: h.shelf, Owner: member{h.crew, 0, true}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		queue, _ := runner.due(time.Now())
		require.Len(t, queue, 1)
		runner.work(t.Context(), queue[0])
		assert.Equal(t, "next", d.board.Presents("default", keyOf(0)))
	})
}

// deaf is a store that cannot be reached.
type deaf struct{ tries int }

var errDown = errors.New("no connection")

func (d *deaf) Create(context.Context, string, []byte) (uint64, error) {
	d.tries++
	return 0, errDown
}

func (d *deaf) Update(context.Context, string, []byte, uint64) (uint64, error) {
	d.tries++
	return 0, errDown
}

// While the store is down nobody is cut over, and nobody is probed in a frenzy.
func TestAStoreThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, 1)
		board := NewBoard(h.registry)
		a, err := Start(Assign("default"), "next", time.Now(), "ada")
		require.NoError(t, err)
		value, err := a.Encode()
		require.NoError(t, err)
		require.NoError(t, board.PutAssignment(AssignmentKey("default"), value, 1))
		board.Loaded()
		store := &deaf{}
		runner, err := NewRunner(Setup{Board: board, Prober: h.receivers, Store: store, Owner: member{h.crew, 0, true}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); runner.Run(ctx) }()
		sleep(t, time.Minute)
		assert.InDelta(t, 12, store.tries, 1)
		assert.Equal(t, "default", board.Presents("default", keyOf(0)))
		cancel()
		<-ended
	})
}

// Each endpoint is probed by its owner only, and the rotation is ended by the leader only.
func TestEveryoneKeepsToTheirShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 20, 2)
		h.receivers.took = time.Second
		leader, other := h.open(0, 0, false), h.open(1, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 8*time.Second)
		for i := range 20 {
			assert.Len(t, h.receivers.probesOf(keyOf(i)), 1, "endpoint %d", i)
		}
		leader.stop()
		leader.done.Wait()
		sleep(t, time.Hour)
		p, err := other.board.Progress("default")
		require.NoError(t, err)
		require.NotNil(t, p.Rotation, "there is nobody to end it")
		assert.Equal(t, 100, p.Percent())
		h.crew.leave(0)
		sleep(t, time.Second)
		a, _ := h.shelf.assignment()
		assert.Equal(t, "next", a.Uses)
		other.stop()
		other.done.Wait()
	})
}

// stopped is a prober whose dispatcher is stopped while it waits for an answer.
type stopped struct{ stop context.CancelFunc }

func (s stopped) Probe(context.Context, endpoint.Key, string) Result {
	s.stop()
	return Result{End: NoAnswer}
}

func TestWorkOfAPlace(t *testing.T) {
	h := newHouse(t, 1, 1)
	require.NoError(t, h.shelf.start("next"))
	board := NewBoard(h.registry)
	entries, _ := h.shelf.since(0)
	require.NoError(t, feed(board, entries[0]))
	board.Loaded()
	ctx, cancel := context.WithCancel(t.Context())
	runner, err := NewRunner(Setup{Board: board, Prober: stopped{cancel}, Store: h.shelf, Owner: member{h.crew, 0, true}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	queue, _ := runner.due(time.Now())
	require.Len(t, queue, 1)
	require.True(t, runner.claim(queue[0].place))
	assert.False(t, runner.claim(queue[0].place), "one worker at a time")
	none, _ := runner.due(time.Now())
	assert.Empty(t, none)
	runner.release(queue[0].place, time.Time{})
	runner.work(ctx, queue[0])
	entries, _ = h.shelf.since(1)
	assert.Empty(t, entries, "what was seen while stopping is not stored")
}

func TestTheHistoryHoldsTheLastTen(t *testing.T) {
	a := Assign("default")
	for i := range 13 {
		var err error
		a, err = Start(a, fmt.Sprintf("next-%d", i), time.Now(), "ada")
		require.NoError(t, err)
		a = a.end(Completed, time.Now())
	}
	_, err := a.Encode()
	require.NoError(t, err)
	require.Len(t, a.History, 10)
	assert.Equal(t, "next-12", a.History[9].To)
	assert.Equal(t, "next-12", a.Uses)
}

// A prober that hangs is cut off, and a runner that ends does not wait for its answer.
func TestProbesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, 1)
		h.receivers.took = 240 * time.Hour
		h.receivers.set(keyOf(0), func(string) Result { return Result{End: NoAnswer, Basis: Ours, Detail: "gave up"} })
		d := h.open(0, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 3*time.Minute)
		p, err := d.board.Progress("default")
		require.NoError(t, err)
		require.Len(t, p.Unreachable, 1)
		assert.Contains(t, p.Unreachable[0].Status.Reason, "gave up")
		sleep(t, 30*time.Second)
		d.stop()
		d.done.Wait()
		assert.Len(t, h.receivers.probesOf(keyOf(0)), 2, "the second one was under way")
		s, _ := d.board.Status("default", keyOf(0))
		assert.Equal(t, 1, s.Probes, "what a runner sees at its end says nothing about the receiver")
	})
}

// A refusal after HTTP answers is judged beside the current identity.
func TestTheCurrentIdentityIsProbedWhereItMatters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 2, 1)
		answer := func(next, current int) func(string) Result {
			return func(identity string) Result {
				if identity == "next" {
					return Result{End: Answered, Status: next, Basis: Said}
				}
				return Result{End: Answered, Status: current, Basis: Said}
			}
		}
		h.receivers.set(keyOf(0), answer(403, 200))
		h.receivers.set(keyOf(1), answer(401, 401))
		d := h.open(0, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, time.Second)
		p, err := d.board.Progress("default")
		require.NoError(t, err)
		require.Len(t, p.Refused, 2)
		words := p.Refused[0].Status.Reason + p.Refused[1].Status.Reason
		assert.Contains(t, words, "then refuses the name")
		assert.Contains(t, words, "cannot be told apart")
		d.stop()
		d.done.Wait()
	})
}
