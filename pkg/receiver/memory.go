package receiver

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultMemory is how many deliveries a receiver remembers if the options name no store. Each takes about 350
// bytes. What is needed is the deliveries of twice the tolerance, 10 minutes by default: this many are enough for 200 a
// second.
const DefaultMemory = 1 << 17

// Memory is a [Store] in this process: fast, bounded, and forgotten when the process ends. A request that was captured
// shortly before a restart can be replayed after it, within the tolerance; a shared store does not have that gap.
type Memory struct {
	limit int
	now   func() time.Time

	mu    sync.Mutex
	items map[string]*item
	queue queue
}

// item is an entry, and where it stands in the queue.
type item struct {
	key            string
	value          []byte
	needed, useful time.Time
	place          int
}

// NewMemory returns a store of at most limit entries. Zero or less means [DefaultMemory]. When it is full, the entry that
// has been unneeded for the longest goes; when all are needed, the error of Swap wraps [ErrFull].
func NewMemory(limit int) *Memory { return newMemory(limit, time.Now) }

func newMemory(limit int, now func() time.Time) *Memory {
	if limit <= 0 {
		limit = DefaultMemory
	}
	return &Memory{limit: limit, now: now, items: map[string]*item{}}
}

// Get implements [Store]. It never fails.
func (m *Memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.get(key, m.now())), nil
}

func (m *Memory) get(key string, now time.Time) []byte {
	if i, ok := m.items[key]; ok && now.Before(i.useful) {
		return i.value
	}
	return nil
}

// Swap implements [Store]. Its only error wraps [ErrFull].
func (m *Memory) Swap(_ context.Context, key string, old, value []byte, keep Keep) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	current := m.get(key, now)
	if (current == nil) != (old == nil) || !bytes.Equal(current, old) {
		return false, nil
	}
	i, ok := m.items[key]
	if !ok {
		if err := m.makeRoom(now); err != nil {
			return false, err
		}
		i = &item{key: key}
		m.items[key] = i
		heap.Push(&m.queue, i)
	}
	i.value, i.needed, i.useful = bytes.Clone(value), now.Add(keep.Needed), now.Add(keep.Useful)
	heap.Fix(&m.queue, i.place)
	return true, nil
}

// makeRoom also drops two entries that are of no use any more, so that the store shrinks again after a busy hour.
func (m *Memory) makeRoom(now time.Time) error {
	for range 2 {
		if m.queue.Len() == 0 || now.Before(m.queue.line[0].useful) {
			break
		}
		m.drop()
	}
	if m.queue.Len() < m.limit {
		return nil
	}
	if now.Before(m.queue.line[0].needed) {
		return fmt.Errorf("%w: %d deliveries came within the time that replays are possible; give it more room or use a shared store", ErrFull, m.limit)
	}
	m.drop()
	return nil
}

func (m *Memory) drop() {
	if i, ok := heap.Pop(&m.queue).(*item); ok {
		delete(m.items, i.key)
	}
}

// queue has the entry that is unneeded first at its head.
type queue struct {
	line []*item
}

// Len is for package heap, as all methods of queue.
func (q *queue) Len() int { return len(q.line) }

// Less has the one first that is needed for the shortest time.
func (q *queue) Less(i, j int) bool { return q.line[i].needed.Before(q.line[j].needed) }

// Swap keeps the places of both.
func (q *queue) Swap(i, j int) {
	q.line[i], q.line[j] = q.line[j], q.line[i]
	q.line[i].place, q.line[j].place = i, j
}

// Push adds at the end.
func (q *queue) Push(x any) {
	if i, ok := x.(*item); ok {
		i.place = len(q.line)
		q.line = append(q.line, i)
	}
}

// Pop takes from the end.
func (q *queue) Pop() any {
	last := len(q.line) - 1
	i := q.line[last]
	q.line[last] = nil
	q.line = q.line[:last]
	return i
}
