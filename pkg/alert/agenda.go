package alert

import (
	"container/heap"
	"context"
	"time"
)

// item is something that the desk looks at when its time comes: a slot of certificates, an endpoint, a rotation.
type item interface {
	// plan is when.
	plan() *plan
	// settle does what is due and returns when to look again; the zero time for never.
	settle(ctx context.Context, d *Desk, now time.Time) (time.Time, error)
}

// plan is an item's place in the agenda. The zero plan is not in it.
type plan struct {
	at       time.Time
	place    int // in the heap, from 1
	failures int // in a row
}

// agenda orders items by time. It holds each at most once, at the earliest time that was asked for: looking too early
// costs little, looking too late is an alert too late.
type agenda struct{ items queue }

// put plans an item, and reports whether it has become the first.
func (a *agenda) put(i item, at time.Time) (first bool) {
	p := i.plan()
	switch {
	case p.place == 0:
		p.at = at
		heap.Push(&a.items, i)
	case at.Before(p.at):
		p.at = at
		heap.Fix(&a.items, p.place-1)
	}
	return p.place == 1
}

// remove takes an item out, if it is in.
func (a *agenda) remove(i item) {
	if p := i.plan(); p.place > 0 {
		heap.Remove(&a.items, p.place-1)
	}
}

// first returns the time of the first item; ok is false when there is none.
func (a *agenda) first() (at time.Time, ok bool) {
	if len(a.items) == 0 {
		return time.Time{}, false
	}
	return a.items[0].plan().at, true
}

// take takes the first item out when its time has come.
func (a *agenda) take(now time.Time) (item, bool) {
	if at, ok := a.first(); !ok || at.After(now) {
		return nil, false
	}
	i, ok := heap.Pop(&a.items).(item)
	return i, ok
}

// queue implements [heap.Interface].
type queue []item //nolint:recvcheck // as container/heap wants it

// Len implements [heap.Interface].
func (q queue) Len() int { return len(q) }

// Less implements [heap.Interface].
func (q queue) Less(i, j int) bool { return q[i].plan().at.Before(q[j].plan().at) }

// Swap implements [heap.Interface].
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].plan().place, q[j].plan().place = i+1, j+1
}

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	i, ok := x.(item)
	if !ok {
		return
	}
	*q = append(*q, i)
	i.plan().place = len(*q)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	i := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	i.plan().place = 0
	return i
}
