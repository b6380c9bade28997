package endpoint

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Status is what the system, not a person, has decided about an endpoint. It is
// stored as JSON beside the document.
type Status struct {
	// Disabled is nil unless deliveries were switched off.
	Disabled *Disabled `json:"disabled,omitempty"`
	// Held is nil unless deliveries wait until a certificate, or a setting, is mended.
	Held *Held `json:"held,omitempty"`
	// Activation is nil unless the receiver has agreed to deliveries.
	Activation *Activated `json:"activation,omitempty"`
}

// Clone is a copy that shares nothing with s.
func (s Status) Clone() Status {
	if s.Disabled != nil {
		disabled := *s.Disabled
		s.Disabled = &disabled
	}
	if s.Held != nil {
		held := *s.Held
		s.Held = &held
	}
	if s.Activation != nil {
		activation := *s.Activation
		s.Activation = &activation
	}
	return s
}

// Held says since when and why an endpoint's deliveries wait, all of them, until a handshake proves that they can go.
type Held struct {
	Since time.Time `json:"since"`
	// Outcome is that of the attempt, or of the latest probe, by its name (DESIGN.md section 6).
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"`
	Advice  string `json:"advice,omitempty"`
	// Probes counts the handshakes that have been tried since, and Next is when the next one is due.
	Probes int       `json:"probes"`
	Next   time.Time `json:"next_probe"`
}

// Disabled says when and why deliveries were switched off, and for which
// revision of the document: it has no effect on any other.
type Disabled struct {
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`
	Revision uint64    `json:"revision"`
}

// Registered is an endpoint with its place in the store.
type Registered struct {
	*Endpoint

	// Revision is the store's revision of the document; it only grows.
	Revision uint64
	Status   Status
}

// Disabled reports whether deliveries are switched off: only when the status
// names this very revision, so that applying the document again enables the
// endpoint.
func (r Registered) Disabled() bool {
	return r.Status.Disabled != nil && r.Status.Disabled.Revision == r.Revision
}

// Waiting reports whether deliveries stay in the backlog: because a person has paused the endpoint, because it is held, or
// because its receiver has not agreed yet.
func (r Registered) Waiting() bool { return r.Paused || r.Status.Held != nil || r.asks() }

// MarshalJSON writes the document, the revision and the status; without it the
// document's own method would be promoted and the other two would be lost.
func (r Registered) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Endpoint *Endpoint `json:"endpoint"`
		Revision uint64    `json:"revision"`
		Status   Status    `json:"status"`
		Disabled bool      `json:"disabled"`
	}{r.Endpoint, r.Revision, r.Status, r.Disabled()})
}

// Registry holds every endpoint in memory. The zero value is ready. Reads take
// no lock and never wait for a write: each tenant has a sorted, immutable list
// behind an atomic pointer, and a write replaces the list of its tenant only.
// A Registry must not be copied.
type Registry struct {
	writers sync.Mutex
	tenants sync.Map // tenant name → *tenant
	count   atomic.Int64
	held    map[Key]struct{} // those with a status of Held; under writers
	asked   map[Key]struct{} // those whose document has an activation; under writers
}

type tenant struct {
	list    atomic.Pointer[[]Registered] // sorted by name; never nil
	waiting map[string]Status            // came before their endpoint; under Registry.writers
}

// Put stores an endpoint, which must come from Parse or Restore. A revision older than
// the one held is ignored: a watch may repeat itself after a reconnect. A status
// that came earlier is joined to it.
func (r *Registry) Put(e *Endpoint, revision uint64) {
	r.writers.Lock()
	defer r.writers.Unlock()
	t := r.tenantForWriting(e.Tenant)
	old := *t.list.Load()
	at, held := search(old, e.Name)
	entry := Registered{Endpoint: e, Revision: revision}
	if held && revision < old[at].Revision {
		return
	}
	r.noteActivation(e)
	if held {
		entry.Status = old[at].Status
		t.replace(old, at, entry)
		return
	}
	entry.Status = t.waiting[e.Name]
	delete(t.waiting, e.Name)
	list := make([]Registered, 0, len(old)+1)
	list = append(append(append(list, old[:at]...), entry), old[at:]...)
	t.list.Store(&list)
	r.count.Add(1)
}

// SetStatus replaces the status of an endpoint. It may come before the endpoint.
func (r *Registry) SetStatus(k Key, s Status) {
	r.UpdateStatus(k, func(now *Status) { *now = s })
}

// UpdateStatus lets change alter the status of an endpoint, with nobody else in between: the facts in it are separate,
// and whoever knows one of them leaves the others as they are. It may come before the endpoint. It returns the status
// that stands afterwards. change must not use the registry.
func (r *Registry) UpdateStatus(k Key, change func(*Status)) Status {
	r.writers.Lock()
	defer r.writers.Unlock()
	t := r.tenantForWriting(k.Tenant)
	defer r.dropEmpty(k.Tenant, t)
	old := *t.list.Load()
	at, known := search(old, k.Name)
	s := t.waiting[k.Name]
	if known {
		s = old[at].Status
	}
	mine := s.Clone()
	change(&mine)
	s = mine.Clone()
	r.note(k, s)
	switch {
	case known:
		entry := old[at]
		entry.Status = s
		t.replace(old, at, entry)
	case s != (Status{}):
		t.waiting[k.Name] = s
	default:
		delete(t.waiting, k.Name)
	}
	return s
}

// Delete forgets an endpoint and its status. Deleting what is not there is fine.
func (r *Registry) Delete(k Key) {
	r.writers.Lock()
	defer r.writers.Unlock()
	t, ok := r.tenant(k.Tenant)
	if !ok {
		return
	}
	delete(t.waiting, k.Name)
	r.note(k, Status{})
	delete(r.asked, k)
	old := *t.list.Load()
	if at, held := search(old, k.Name); held {
		list := make([]Registered, 0, len(old)-1)
		list = append(append(list, old[:at]...), old[at+1:]...)
		t.list.Store(&list)
		r.count.Add(-1)
	}
	r.dropEmpty(k.Tenant, t)
}

// Get returns one endpoint.
func (r *Registry) Get(k Key) (Registered, bool) {
	list := r.Tenant(k.Tenant)
	at, held := search(list, k.Name)
	if !held {
		return Registered{}, false
	}
	return list[at], true
}

// Tenant returns the endpoints of a tenant, sorted by name, disabled ones
// included: a snapshot that later writes do not touch. It is shared and costs no
// copy, so the caller must not write to it. Nil when there are none.
func (r *Registry) Tenant(name string) []Registered {
	t, ok := r.tenant(name)
	if !ok {
		return nil
	}
	list := *t.list.Load()
	if len(list) == 0 {
		return nil // only statuses are waiting
	}
	return slices.Clip(list)
}

// All returns every endpoint, sorted by tenant and name within it, disabled ones included: a snapshot.
func (r *Registry) All() []Registered {
	all := make([]Registered, 0, r.Len())
	r.tenants.Range(func(_, value any) bool {
		if t, ok := value.(*tenant); ok {
			all = append(all, *t.list.Load()...)
		}
		return true
	})
	slices.SortFunc(all, func(a, b Registered) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Name, b.Name))
	})
	return all
}

// Len returns the number of endpoints of all tenants.
func (r *Registry) Len() int { return int(r.count.Load()) }

func (r *Registry) tenant(name string) (*tenant, bool) {
	value, ok := r.tenants.Load(name)
	if !ok {
		return nil, false
	}
	t, ok := value.(*tenant)
	return t, ok
}

func (r *Registry) tenantForWriting(name string) *tenant {
	if t, ok := r.tenant(name); ok {
		return t
	}
	t := &tenant{waiting: map[string]Status{}}
	t.list.Store(&[]Registered{})
	r.tenants.Store(name, t)
	return t
}

// dropEmpty keeps tenants that came and went from piling up.
func (r *Registry) dropEmpty(name string, t *tenant) {
	if len(*t.list.Load()) == 0 && len(t.waiting) == 0 {
		r.tenants.Delete(name)
	}
}

// replace stores a copy of the list with another entry at one place.
func (t *tenant) replace(old []Registered, at int, entry Registered) {
	list := slices.Clone(old)
	list[at] = entry
	t.list.Store(&list)
}

func search(list []Registered, name string) (at int, held bool) {
	return slices.BinarySearchFunc(list, name, func(r Registered, name string) int {
		return strings.Compare(r.Name, name)
	})
}
