package schema

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Set is the versions of one kind, by number. It is a snapshot, and never changes.
type Set struct {
	Kind Kind

	versions []*Version
}

// Versions returns them by number, the deleted ones included. The slice is shared: do not write to it.
func (s *Set) Versions() []*Version {
	if s == nil {
		return nil
	}
	return s.versions
}

// Version returns one by its number; nil when there is none.
func (s *Set) Version(number int) *Version {
	for _, v := range s.Versions() {
		if v.Number == number {
			return v
		}
	}
	return nil
}

// Newest returns the version with the highest number that is in force for events that were stored at a time; nil when
// none is.
func (s *Set) Newest(at time.Time) *Version {
	for _, v := range slices.Backward(s.Versions()) {
		if v.InForce(at) {
			return v
		}
	}
	return nil
}

// Next is the number of the version that would be new: one more than the highest there ever was.
func (s *Set) Next() int {
	if all := s.Versions(); len(all) > 0 {
		return all[len(all)-1].Number + 1
	}
	return 1
}

// byURI returns the version that a dataschema names, whichever way; nil when none.
func (s *Set) byURI(uri string) *Version {
	for _, v := range s.Versions() {
		if v.URI == uri || v.Name.URI("") == uri {
			return v
		}
	}
	return nil
}

// claims tells whether a dataschema is one of ours: it begins as our URIs do, whether or not there is such a version.
func (s *Set) claims(uri string) bool {
	if strings.HasPrefix(uri, URNPrefix) {
		return true
	}
	for _, v := range s.Versions() {
		if cut := strings.LastIndexByte(v.URI, '/'); cut > 0 && strings.HasPrefix(uri, v.URI[:cut+1]) {
			return true
		}
	}
	return false
}

// Registry is every schema in memory. The zero value is ready, and it must not be copied. Whoever asks takes no lock for
// as long as there is no schema at all.
type Registry struct {
	mu      sync.RWMutex
	sets    map[Kind]*Set
	retired map[Name]Retirement // deletions, also those that came before their version
	count   atomic.Int64
}

// Put takes a version that was stored.
func (r *Registry) Put(v *Version) {
	r.change(v.Kind, func(all []*Version) []*Version {
		stored := *v
		stored.Retired, stored.gaps = r.retired[v.Name].At, r.retired[v.Name].Gaps
		at, there := find(all, v.Number)
		if there {
			all[at] = &stored
			return all
		}
		return slices.Insert(all, at, &stored)
	})
}

// Remove forgets a version whose entry is gone from the bucket, which no command of ours does.
func (r *Registry) Remove(name Name) {
	r.change(name.Kind, func(all []*Version) []*Version {
		if at, there := find(all, name.Number); there {
			return slices.Delete(all, at, at+1)
		}
		return all
	})
}

// Retire notes when a version was deleted; the zero time takes the deletion back. It may come before the version.
func (r *Registry) Retire(name Name, at time.Time) { r.SetRetirement(name, Retirement{At: at}) }

// SetRetirement notes all that became of a version in that way. The zero Retirement is that nothing did.
func (r *Registry) SetRetirement(name Name, to Retirement) {
	r.change(name.Kind, func(all []*Version) []*Version {
		if to.At.IsZero() && len(to.Gaps) == 0 {
			delete(r.retired, name)
		} else {
			if r.retired == nil {
				r.retired = make(map[Name]Retirement)
			}
			r.retired[name] = to
		}
		if i, there := find(all, name.Number); there {
			changed := *all[i]
			changed.Retired, changed.gaps = to.At, to.Gaps
			all[i] = &changed
		}
		return all
	})
}

func (r *Registry) change(kind Kind, change func([]*Version) []*Version) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := change(slices.Clone(r.sets[kind].Versions()))
	if len(all) == 0 {
		delete(r.sets, kind)
	} else {
		if r.sets == nil {
			r.sets = make(map[Kind]*Set)
		}
		r.sets[kind] = &Set{Kind: kind, versions: all}
	}
	r.count.Store(int64(len(r.sets)))
}

func find(all []*Version, number int) (at int, there bool) {
	return slices.BinarySearchFunc(all, number, func(v *Version, number int) int { return cmp.Compare(v.Number, number) })
}

// Set returns the versions of a kind; nil when there are none.
func (r *Registry) Set(kind Kind) *Set {
	if r.count.Load() == 0 {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.sets[kind]
}

// Sets returns all, by tenant and type.
func (r *Registry) Sets() []*Set {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]*Set, 0, len(r.sets))
	for _, s := range r.sets {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Set) int {
		return cmp.Or(strings.Compare(a.Kind.Tenant, b.Kind.Tenant), strings.Compare(a.Kind.Type, b.Kind.Type))
	})
	return all
}
