package rotation

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

// model is a deployment in which everything happens one step at a time: two dispatchers, two endpoints, one store, and
// beside it a plain record of what was proved. It knows nothing of statuses.
type model struct {
	t         *testing.T
	registry  *registry
	shelf     *shelf
	receivers *receivers
	boards    [2]*Board
	runners   [2]*Runner
	seen      [2]int // how much of the log each board has read
	steps     []string

	// proved holds "rotation/endpoint/mark" of each acceptance that nothing has contradicted since.
	proved map[string]bool
	// completed is how many rotations had completed in what a board has read.
	completed [2]int
}

func newModel(t *testing.T) *model {
	t.Helper()
	m := &model{t: t, registry: newRegistry(2), shelf: newShelf(), receivers: newReceivers(), proved: map[string]bool{}}
	for i := range m.boards {
		m.restart(i)
	}
	return m
}

// restart gives a dispatcher an empty memory.
func (m *model) restart(i int) {
	m.boards[i], m.seen[i] = NewBoard(m.registry), 0
	runner, err := NewRunner(Setup{
		Board: m.boards[i], Prober: m.receivers, Store: m.shelf, Owner: member{newCrew(1), 0, true},
		Logger: slog.New(slog.DiscardHandler), Rate: 1e6, Settle: time.Nanosecond,
	})
	require.NoError(m.t, err)
	m.runners[i] = runner
	m.read(i)
	m.boards[i].Loaded()
}

func (m *model) read(i int) {
	entries, _ := m.shelf.since(m.seen[i])
	m.seen[i] += len(entries)
	for _, e := range entries {
		require.NoError(m.t, feed(m.boards[i], e))
	}
}

func (m *model) proof(rotation string, key endpoint.Key) string {
	return fmt.Sprintf("%s/%s/%s", rotation, key, m.registry.Mark(key))
}

// do makes one step. Steps that are not possible at the moment change nothing.
func (m *model) do(step string) {
	m.steps = append(m.steps, step)
	sleep(m.t, time.Second)
	i, key := int(step[0]-'0'), keyOf(int(step[1]-'0'))
	now := time.Now()
	command := func(f func(Assignment, time.Time, string) (Assignment, error)) {
		_ = m.shelf.change(func(a Assignment) (Assignment, error) { return f(a, now, "ada") })
	}
	switch step[3:] {
	case "start":
		_ = m.shelf.change(func(a Assignment) (Assignment, error) {
			return Start(a, []string{"one", "two", "three"}[len(m.shelf.log)%3], now, "ada")
		})
	case "pause":
		command(Pause)
	case "resume":
		command(Resume)
	case "rollback":
		command(Rollback)
	case "read":
		m.read(i)
	case "replay": // a watch that begins anew
		m.seen[i] = 0
		m.read(i)
	case "restart":
		m.restart(i)
	case "late": // everything that waits is due
		sleep(m.t, 2*time.Hour)
	case "accepts":
		m.receivers.set(key, ok)
	case "refuses":
		m.receivers.set(key, func(string) Result { return Result{End: CertificateRefused, Basis: Said} })
	case "moves": // the document leads to another receiver
		m.registry.apply(key, m.registry.get(key).Revision+1, fmt.Sprintf("mark-%d", len(m.steps)))
	case "applied": // the same document again
		m.registry.apply(key, m.registry.get(key).Revision+1, m.registry.Mark(key))
	case "disabled":
		m.registry.disable(key)
	case "probe":
		m.probe(i)
	case "hand":
		m.hand(i, key)
	case "fall":
		m.fall(i, key)
	case "conclude":
		m.runners[i].settleAll(m.t.Context())
	default:
		require.Fail(m.t, "no such step", step)
	}
}

func (m *model) probe(i int) {
	queue, _ := m.runners[i].due(time.Now())
	for _, j := range queue {
		a, _, err := m.boards[i].Assignment("default")
		require.NoError(m.t, err)
		before := len(m.receivers.probesOf(j.key))
		m.runners[i].work(m.t.Context(), j)
		if len(m.receivers.probesOf(j.key)) == before {
			continue
		}
		if m.receivers.answer(j.key, a.Rotation.To).End == Answered {
			m.proved[m.proof(a.Rotation.ID, j.key)] = true
		}
	}
}

func (m *model) hand(i int, key endpoint.Key) {
	a, _, err := m.boards[i].Assignment("default")
	require.NoError(m.t, err)
	s, revision := m.boards[i].Status("default", key)
	s, err = AcceptByHand(a, s, m.registry.get(key), time.Now(), "ada")
	if err != nil {
		return
	}
	value, err := s.Encode()
	require.NoError(m.t, err)
	if _, err = m.shelf.Update(m.t.Context(), StatusKey("default", m.registry.Partition(key), key), value, revision); err == nil {
		m.proved[m.proof(a.Rotation.ID, key)] = true
	}
}

func (m *model) fall(i int, key endpoint.Key) {
	a, _, err := m.boards[i].Assignment("default")
	require.NoError(m.t, err)
	presented := m.boards[i].Presents("default", key)
	if m.boards[i].Fell(Fall{Identity: "default", Endpoint: key, Presented: presented, Basis: Said, Reason: "no"}, time.Now()) {
		require.Equal(m.t, a.Rotation.To, presented)
		require.Equal(m.t, a.Uses, m.boards[i].Presents("default", key), "%s: a fall takes effect at once", m.steps)
	}
}

// check holds the invariants.
func (m *model) check() {
	for i, b := range m.boards {
		a, _, err := b.Assignment("default")
		require.NoError(m.t, err)
		for _, key := range []endpoint.Key{keyOf(0), keyOf(1)} {
			got := b.Presents("default", key)
			r := a.Rotation
			switch {
			case r == nil || r.State == RollingBack:
				require.Equal(m.t, a.Uses, got, "%s: board %d, %s", m.steps, i, key)
			case got == r.To:
				require.True(m.t, m.proved[m.proof(r.ID, key)], "%s: board %d, %s: presented without proof", m.steps, i, key)
			default:
				require.Equal(m.t, a.Uses, got, "%s: board %d, %s", m.steps, i, key)
			}
		}
		m.neverBack(i, a)
	}
}

// neverBack: what completed stays completed, and it completed only with the proof of every live endpoint.
func (m *model) neverBack(i int, a Assignment) {
	completed := 0
	uses := "default"
	for _, e := range a.History {
		if e.How == Completed {
			require.Equal(m.t, uses, e.From, "%s", m.steps)
			uses = e.To
			completed++
		}
	}
	if len(a.History) < maxHistory {
		require.Equal(m.t, uses, a.Uses, "%s", m.steps)
		if m.seen[i] == len(m.shelf.log) {
			require.GreaterOrEqual(m.t, completed, m.completed[i], "%s: a completed rotation was undone", m.steps)
			m.completed[i] = completed
		}
	}
}

// ended checks, at the moment of the write, that a rotation completed with every proof in hand.
func (m *model) ended(before Assignment) {
	after, _ := m.shelf.assignment()
	if before.Rotation == nil || after.Rotation != nil || after.Uses == before.Uses {
		return
	}
	for _, t := range m.registry.Live("default") {
		require.True(m.t, m.proved[m.proof(before.Rotation.ID, t.Key)], "%s: completed without the proof of %s", m.steps, t.Key)
	}
}

func (m *model) run(steps ...string) {
	for _, step := range steps {
		before, _ := m.shelf.assignment()
		m.do(step)
		m.ended(before)
		m.check()
	}
}

// Every sequence of three steps out of those that matter, after a beginning that brings endpoints to each stage.
func TestEverySequenceOfSteps(t *testing.T) {
	steps := []string{
		"00 pause", "00 resume", "00 rollback", "00 start", "00 probe", "00 conclude", "10 read", "10 conclude", "10 fall", "00 moves",
	}
	depth := 3
	if testing.Short() {
		depth = 2
	}
	beginnings := [][]string{
		{"00 start", "00 read"},
		{"00 start", "00 read", "00 probe", "10 read"},
		{"00 start", "00 read", "01 refuses", "00 probe", "10 read", "01 accepts", "00 late"},
	}
	for _, beginning := range beginnings {
		t.Run(strings.Join(beginning, ","), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				total := 1
				for range depth {
					total *= len(steps)
				}
				for n := range total {
					m := newModel(t)
					m.run(beginning...)
					for rest := n; len(m.steps) < len(beginning)+depth; rest /= len(steps) {
						m.run(steps[rest%len(steps)])
					}
				}
			})
		})
	}
}

// Long random sequences, the same each time.
func TestRandomSequencesOfSteps(t *testing.T) {
	words := []string{
		"start", "start", "pause", "resume", "resume", "rollback", "read", "read", "read", "read", "replay", "restart", "late",
		"accepts", "accepts", "accepts", "refuses", "moves", "applied", "disabled", "probe", "probe", "probe", "probe", "hand", "fall", "conclude", "conclude",
		"start", "accepts", "read", "read", "probe", "probe", "conclude", "conclude", "read", "accepts", "start", "read",
	}
	completed, rolledBack := 0, 0
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			m := newModel(t)
			for range 150 {
				m.run(fmt.Sprintf("%d%d %s", random.IntN(2), random.IntN(2), words[random.IntN(len(words))]))
			}
			a, _ := m.shelf.assignment()
			for _, e := range a.History {
				if e.How == Completed {
					completed++
				} else {
					rolledBack++
				}
			}
		})
	}
	require.Greater(t, completed, 15, "the sequences must get somewhere")
	require.Greater(t, rolledBack, 15)
}
