package rotation

import (
	"fmt"
	"maps"
	"slices"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Changed is closed at the next change of anything on the board.
func (b *Board) Changed() <-chan struct{} {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.changed
}

// Assignment returns the assignment of a name with its revision, which is 0 when the store holds none; the name then
// stands for itself, and the first one is to be created. The error says that a record stands there that this release cannot read.
func (b *Board) Assignment(name string) (a Assignment, revision uint64, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	i, held := b.identities[name]
	switch {
	case !held, !i.assigned:
		return Assign(name), 0, nil
	case i.unreadable:
		return Assignment{}, i.revision, fmt.Errorf("the assignment of identity %q cannot be read: use the release that wrote it, or a newer one", name)
	}
	return i.assignment.detach(), i.revision, nil
}

// Status returns what is stored for an endpoint, or known here and not stored yet, with the revision for writing it: 0
// when it is to be created.
func (b *Board) Status(name string, key endpoint.Key) (s Status, revision uint64) {
	e := b.entry(name, key)
	if e.removed {
		return Status{}, 0
	}
	return e.status, e.revision
}

// Identities returns the names that have an assignment, sorted.
func (b *Board) Identities() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var names []string
	for name, i := range b.identities {
		if i.assigned {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Progress counts an identity's endpoints by stage. The error says that its assignment cannot be read.
func (b *Board) Progress(name string) (Progress, error) {
	a, _, err := b.Assignment(name)
	if err != nil {
		return Progress{}, err
	}
	return Measure(a, b.statuses(name), b.endpoints.Live(name)), nil
}

func (b *Board) entry(name string, key endpoint.Key) entry {
	b.mu.RLock()
	defer b.mu.RUnlock()
	i, held := b.identities[name]
	if !held {
		return entry{}
	}
	return i.statuses[key]
}

// falls returns the entries that only this process knows, in the order of the endpoints.
func (b *Board) falls(name string) []fallen {
	b.mu.RLock()
	defer b.mu.RUnlock()
	i, held := b.identities[name]
	if !held {
		return nil
	}
	var all []fallen
	for key, e := range i.statuses {
		if e.unsaved {
			all = append(all, fallen{key, e})
		}
	}
	slices.SortFunc(all, func(x, y fallen) int { return compareKeys(x.key, y.key) })
	return all
}

type fallen struct {
	key   endpoint.Key
	entry entry
}

func (b *Board) statuses(name string) map[endpoint.Key]Status {
	b.mu.RLock()
	defer b.mu.RUnlock()
	statuses := map[endpoint.Key]Status{}
	if i, held := b.identities[name]; held {
		for key, e := range i.statuses {
			statuses[key] = e.status
		}
	}
	return statuses
}

// rotating returns the assignments with a rotation that this process may carry on, in the order of their names, with
// their revisions.
func (b *Board) rotating() []held {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !b.loaded {
		return nil
	}
	var all []held
	for _, name := range slices.Sorted(maps.Keys(b.identities)) {
		if i := b.identities[name]; i.assigned && !i.unreadable && i.assignment.Rotation != nil {
			all = append(all, held{i.assignment.detach(), i.revision})
		}
	}
	return all
}

type held struct {
	assignment Assignment
	revision   uint64
}
