package endpoint

import (
	"maps"
	"slices"
)

// note keeps the set of held endpoints.
func (r *Registry) note(k Key, s Status) {
	if s.Held == nil {
		delete(r.held, k)
		return
	}
	if r.held == nil {
		r.held = make(map[Key]struct{})
	}
	r.held[k] = struct{}{}
}

// Held returns the endpoints whose deliveries are held, in no order.
func (r *Registry) Held() []Registered {
	r.writers.Lock()
	keys := slices.Collect(maps.Keys(r.held))
	r.writers.Unlock()
	found := make([]Registered, 0, len(keys))
	for _, k := range keys {
		if e, ok := r.Get(k); ok && e.Status.Held != nil {
			found = append(found, e)
		}
	}
	return found
}
