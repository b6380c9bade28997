package rotation

import (
	"fmt"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Board is one process's view of all assignments and statuses. Whoever follows the store feeds it: PutAssignment,
// PutStatus and Remove for each entry, in any order and any number of times, and Loaded when what stood there at the
// start has been handed over. It may be used by any number of goroutines.
type Board struct {
	endpoints Endpoints

	mu         sync.RWMutex
	loaded     bool
	identities map[string]*identity
	changed    chan struct{}
}

// identity is what the store holds under one name. Guarded by Board.mu.
type identity struct {
	// assigned tells that the store holds an assignment; its Uses is empty while none of it could be read.
	assigned   bool
	assignment Assignment
	revision   uint64
	// unreadable tells that the store holds a newer assignment than this one, which must not be written over.
	unreadable bool
	statuses   map[endpoint.Key]entry
}

// entry is one status with its revision. A removed or unreadable one is the zero status with the revision of that.
type entry struct {
	status   Status
	revision uint64
	removed  bool
	// unsaved tells that the status is a fall that only this process knows.
	unsaved bool
}

// NewBoard makes an empty board, which names no identity until Loaded is called. endpoints must not be nil.
func NewBoard(endpoints Endpoints) *Board {
	return &Board{endpoints: endpoints, identities: map[string]*identity{}, changed: make(chan struct{})}
}

// Presents names the identity to present to an endpoint whose document names identity. It is called for each attempt:
// it takes one read lock and allocates nothing. Read the endpoint's document first and ask then, so that the answer is
// for that document or a newer one.
//
// An empty answer means that nobody knows: the store is not read yet, or holds an assignment that cannot be read. The
// attempt must then be held (no_identity).
func (b *Board) Presents(identity string, key endpoint.Key) string {
	b.mu.RLock()
	uses, to, mark := b.choice(identity, key)
	b.mu.RUnlock()
	// Outside the lock, because the registry has locks of its own.
	if mark != "" && b.endpoints.Mark(key) == mark {
		return to
	}
	return uses
}

// choice is what to present to the receiver with the mark, and what to any other; an empty mark stands for no receiver.
func (b *Board) choice(name string, key endpoint.Key) (uses, to, mark string) {
	if !b.loaded {
		return "", "", ""
	}
	i, held := b.identities[name]
	if !held || !i.assigned {
		return name, "", ""
	}
	r := i.assignment.Rotation
	if r == nil || r.State == RollingBack {
		return i.assignment.Uses, "", ""
	}
	e, held := i.statuses[key]
	if !held || e.status.Stage != Accepted || e.status.Rotation != r.ID {
		return i.assignment.Uses, "", ""
	}
	return i.assignment.Uses, r.To, e.status.Mark
}

// PutAssignment takes the value that stands under an [AssignmentKey]. One not newer than what is held is ignored. The
// error says why a record was not taken: the last good one stays in force, and without one Presents names none.
func (b *Board) PutAssignment(key string, value []byte, revision uint64) error {
	name, err := ParseAssignmentKey(key)
	if err != nil {
		return err
	}
	a, err := ParseAssignment(value)
	if err == nil && a.Name != name {
		err = fmt.Errorf("assignment of identity %q stands under %s and is ignored", a.Name, key)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.identity(name)
	if revision <= i.revision {
		return nil
	}
	i.revision, i.assigned, i.unreadable = revision, true, err != nil
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	i.assignment = a
	b.announce()
	return nil
}

// PutStatus takes the value that stands under a [StatusKey]. One not newer than what is held is ignored. The error says
// why a record was not taken: the endpoint then counts as waiting.
func (b *Board) PutStatus(key string, value []byte, revision uint64) error {
	name, partition, at, err := ParseStatusKey(key)
	if err != nil {
		return err
	}
	if right := b.endpoints.Partition(at); partition != right {
		return fmt.Errorf("%s stands in the wrong partition and is ignored; the right one is %d", key, right)
	}
	s, err := ParseStatus(value)
	b.put(name, at, entry{status: s, revision: revision})
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Remove takes note that a key is gone as of a revision. An identity without an assignment stands for itself, and an
// endpoint without a status waits. Keys of other kinds are ignored.
func (b *Board) Remove(key string, revision uint64) {
	if name, err := ParseAssignmentKey(key); err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if i := b.identity(name); revision > i.revision {
			i.assigned, i.assignment, i.revision, i.unreadable = false, Assignment{}, revision, false
			b.announce()
		}
		return
	}
	if name, partition, at, err := ParseStatusKey(key); err == nil && partition == b.endpoints.Partition(at) {
		b.put(name, at, entry{revision: revision, removed: true})
	}
}

func (b *Board) put(name string, at endpoint.Key, e entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.identity(name)
	if e.revision <= i.statuses[at].revision {
		return
	}
	i.statuses[at] = e
	b.announce()
}

// Loaded tells that all that the store held at the start has been handed over, and that the registry of endpoints is
// complete, too. Before that nothing is presented and no rotation ends.
func (b *Board) Loaded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.loaded = true
	b.announce()
}

// EndpointsChanged wakes the runner after a document was applied, disabled or deleted. It does not block.
func (b *Board) EndpointsChanged() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.announce()
}

// identity returns what is held under a name, or makes room for it. The caller holds the lock.
func (b *Board) identity(name string) *identity {
	i, held := b.identities[name]
	if !held {
		i = &identity{statuses: map[endpoint.Key]entry{}}
		b.identities[name] = i
	}
	return i
}

// announce wakes whoever waits on Changed. The caller holds the lock.
func (b *Board) announce() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Fall is an attempt under the next identity that the receiver refused.
type Fall struct {
	// Identity is the name in the document, and Presented what Presents had answered for it.
	Identity  string
	Endpoint  endpoint.Key
	Presented string
	Basis     Basis
	// Reason and Advice are the attempt's words.
	Reason, Advice string
}

// Fell sets an endpoint back to the current identity, at once for every later call of Presents; a [Runner] stores it for
// the others. It reports whether it did: not when the endpoint was not on the next identity any more, or the rotation
// is over.
func (b *Board) Fell(f Fall, now time.Time) bool {
	mark, partition := b.endpoints.Mark(f.Endpoint), b.endpoints.Partition(f.Endpoint)
	f.Basis = known(f.Basis)
	b.mu.Lock()
	defer b.mu.Unlock()
	_, to, proved := b.choice(f.Identity, f.Endpoint)
	if proved == "" || proved != mark || f.Presented != to {
		return false
	}
	i := b.identity(f.Identity)
	e := i.statuses[f.Endpoint]
	e.status = e.status.fell(f, StatusKey(f.Identity, partition, f.Endpoint), now)
	e.unsaved = true
	i.statuses[f.Endpoint] = e
	b.announce()
	return true
}
