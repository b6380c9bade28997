package operator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
)

// roster is the endpoints of one moment as a rotation sees them. It never changes.
type roster struct {
	byIdentity map[string][]rotation.Target
	marks      map[endpoint.Key]string
	partitions int
}

func newRoster(endpoints []Stored, partitions int) roster {
	r := roster{byIdentity: map[string][]rotation.Target{}, marks: make(map[endpoint.Key]string, len(endpoints)), partitions: partitions}
	for _, e := range endpoints {
		mark := rotation.Mark(e.Endpoint)
		r.marks[e.Key()] = mark
		if !e.Disabled() {
			r.byIdentity[e.TLS.Identity] = append(r.byIdentity[e.TLS.Identity], rotation.Target{Key: e.Key(), Revision: e.Revision, Mark: mark})
		}
	}
	return r
}

// Live lists the endpoints that name an identity and can be called.
func (r roster) Live(name string) []rotation.Target { return r.byIdentity[name] }

// Mark stands for the receiver that the endpoint's document leads to.
func (r roster) Mark(key endpoint.Key) string { return r.marks[key] }

// Partition is the endpoint's share.
func (r roster) Partition(key endpoint.Key) int { return stream.Partition(key, r.partitions) }

// Use is what one name in documents has to do with an identity.
type Use struct {
	// Name is what documents write as tls.identity.
	Name string `json:"name"`
	// Stands tells that the name stands for the identity, and Next that it is being rotated to it.
	Stands bool `json:"stands"`
	Next   bool `json:"next,omitempty"`
	// Endpoints present the identity under this name now, sorted. Disabled ones are among them: they may be enabled again.
	Endpoints []string `json:"endpoints,omitempty"`
}

// String is the use in a few words.
func (u Use) String() string {
	count := "1 endpoint"
	if n := len(u.Endpoints); n != 1 {
		count = fmt.Sprintf("%d endpoints", n)
	}
	switch {
	case u.Next:
		return fmt.Sprintf("next of %s, %s already", u.Name, count)
	case len(u.Endpoints) == 0:
		return "as " + u.Name
	}
	return fmt.Sprintf("as %s to %s", u.Name, count)
}

// Uses says under which names an identity is presented, or is to be, and to whom.
func (v *Inventory) Uses(name string) []Use {
	uses := map[string]*Use{}
	use := func(as string) *Use {
		if uses[as] == nil {
			uses[as] = &Use{Name: as}
		}
		return uses[as]
	}
	for _, e := range v.endpoints {
		if v.board.Presents(e.TLS.Identity, e.Key()) == name {
			u := use(e.TLS.Identity)
			u.Endpoints = append(u.Endpoints, e.Key().String())
		}
	}
	for _, as := range v.board.Identities() {
		a, _, err := v.board.Assignment(as)
		if err != nil {
			continue // it stands in Unreadable
		}
		// A name that stands for itself and that nobody writes says nothing.
		if a.Uses == name && (as != name || a.Rotation != nil) {
			use(as)
		}
		if a.Rotation != nil && a.Rotation.To == name {
			use(as).Next = true
		}
	}
	all := make([]Use, 0, len(uses))
	for _, u := range uses {
		a, _, err := v.board.Assignment(u.Name)
		u.Stands = err == nil && a.Uses == name
		slices.Sort(u.Endpoints)
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b Use) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Identity finds a record by its name.
func (v *Inventory) Identity(name string) (identity.Record, bool) {
	at := slices.IndexFunc(v.Identities, func(r identity.Record) bool { return r.Name == name })
	if at < 0 {
		return identity.Record{}, false
	}
	return v.Identities[at], true
}

// IssuedBy lists the identities that an authority renews, by name. Retired ones are not among them.
func (v *Inventory) IssuedBy(authority string) []string {
	var names []string
	for _, r := range v.Identities {
		if r.Authority == authority && r.Origin == identity.FromAuthority && r.State != identity.Retired {
			names = append(names, r.Name)
		}
	}
	return names
}

// named tells whether a document, an assignment or a record knows the name.
func (v *Inventory) named(name string) bool {
	_, stored := v.Identity(name)
	return stored || slices.Contains(v.board.Identities(), name) ||
		slices.ContainsFunc(v.endpoints, func(e Stored) bool { return e.TLS.Identity == name })
}
