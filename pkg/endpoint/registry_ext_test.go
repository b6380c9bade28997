package endpoint_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

func disabled(revision uint64) endpoint.Status {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return endpoint.Status{Disabled: &endpoint.Disabled{At: at, Reason: "410 Gone", Revision: revision}}
}

func names(list []endpoint.Registered) []string {
	out := []string{}
	for _, each := range list {
		out = append(out, each.Name)
	}
	return out
}

func TestRegistry(t *testing.T) {
	var r endpoint.Registry
	assert.Zero(t, r.Len())
	assert.Nil(t, r.Tenant("acme"))
	_, found := r.Get(endpoint.Key{Tenant: "acme", Name: "b"})
	assert.False(t, found)
	r.Delete(endpoint.Key{Tenant: "acme", Name: "b"})

	for i, name := range []string{"b", "c", "a"} {
		r.Put(parse(t, minimal("acme", name)), uint64(i+1))
	}
	r.Put(parse(t, minimal("other", "x")), 9)
	assert.Equal(t, []string{"a", "b", "c"}, names(r.Tenant("acme")))
	assert.Equal(t, 4, r.Len())
	held, found := r.Get(endpoint.Key{Tenant: "acme", Name: "c"})
	require.True(t, found)
	assert.Equal(t, uint64(2), held.Revision)

	before := r.Tenant("acme")
	r.Delete(endpoint.Key{Tenant: "acme", Name: "b"})
	r.Delete(endpoint.Key{Tenant: "acme", Name: "b"})
	assert.Equal(t, []string{"a", "b", "c"}, names(before), "a snapshot does not change")
	assert.Equal(t, []string{"a", "c"}, names(r.Tenant("acme")))
	assert.Equal(t, 3, r.Len())
	r.Delete(endpoint.Key{Tenant: "other", Name: "x"})
	assert.Nil(t, r.Tenant("other"))
}

func TestRegistryIgnoresOlderRevisions(t *testing.T) {
	var r endpoint.Registry
	key := endpoint.Key{Tenant: "acme", Name: "a"}
	r.Put(parse(t, minimal("acme", "a")+"description: new"), 5)
	r.Put(parse(t, minimal("acme", "a")+"description: old"), 4)
	held, _ := r.Get(key)
	assert.Equal(t, "new", held.Description)
	assert.Equal(t, uint64(5), held.Revision)
	r.Put(parse(t, minimal("acme", "a")+"description: newer"), 6)
	held, _ = r.Get(key)
	assert.Equal(t, "newer", held.Description)
	assert.Equal(t, 1, r.Len())
}

func TestRegistryStatus(t *testing.T) {
	key := endpoint.Key{Tenant: "acme", Name: "a"}
	get := func(t *testing.T, r *endpoint.Registry) endpoint.Registered {
		t.Helper()
		held, found := r.Get(key)
		require.True(t, found)
		return held
	}
	t.Run("before the endpoint", func(t *testing.T) {
		var r endpoint.Registry
		r.SetStatus(key, disabled(7))
		assert.Nil(t, r.Tenant("acme"))
		assert.Zero(t, r.Len())
		r.Put(parse(t, minimal("acme", "a")), 7)
		assert.True(t, get(t, &r).Disabled())
	})
	t.Run("withdrawn before the endpoint", func(t *testing.T) {
		var r endpoint.Registry
		r.SetStatus(key, disabled(7))
		r.SetStatus(key, endpoint.Status{})
		r.Put(parse(t, minimal("acme", "a")), 7)
		assert.False(t, get(t, &r).Disabled())
	})
	t.Run("deleted before the endpoint", func(t *testing.T) {
		var r endpoint.Registry
		r.SetStatus(key, disabled(7))
		r.Delete(key)
		r.Put(parse(t, minimal("acme", "a")), 7)
		assert.False(t, get(t, &r).Disabled())
	})
	t.Run("applying again enables", func(t *testing.T) {
		var r endpoint.Registry
		r.Put(parse(t, minimal("acme", "a")), 7)
		r.SetStatus(key, disabled(7))
		assert.True(t, get(t, &r).Disabled())
		r.Put(parse(t, minimal("acme", "a")), 7)
		assert.True(t, get(t, &r).Disabled(), "a repeated watch entry changes nothing")
		r.Put(parse(t, minimal("acme", "a")), 8)
		assert.False(t, get(t, &r).Disabled())
		assert.NotNil(t, get(t, &r).Status.Disabled, "it is still known why it was")
	})
	t.Run("detached from the caller", func(t *testing.T) {
		var r endpoint.Registry
		r.Put(parse(t, minimal("acme", "a")), 7)
		status := disabled(7)
		r.SetStatus(key, status)
		status.Disabled.Revision = 1
		assert.True(t, get(t, &r).Disabled())
	})
}

func TestRegistryJSON(t *testing.T) {
	text, err := json.Marshal(disabled(7))
	require.NoError(t, err)
	assert.JSONEq(t, `{"disabled":{"at":"2026-01-02T03:04:05Z","reason":"410 Gone","revision":7}}`, string(text))
	var back endpoint.Status
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, disabled(7), back)
	text, err = json.Marshal(endpoint.Status{})
	require.NoError(t, err)
	assert.Equal(t, `{}`, string(text))

	text, err = json.Marshal(endpoint.Registered{Endpoint: parse(t, minimal("acme", "a")), Revision: 7, Status: endpoint.Status{}})
	require.NoError(t, err)
	assert.JSONEq(t, `{"endpoint":{"tenant":"acme","name":"a","url":"https://hooks.example.com/in"},"revision":7,"status":{},"disabled":false}`, string(text))
}

func TestRegistryFromManyGoroutines(t *testing.T) {
	var r endpoint.Registry
	parsed := make([]*endpoint.Endpoint, 8)
	for i := range parsed {
		parsed[i] = parse(t, minimal(fmt.Sprintf("t%d", i%2), fmt.Sprintf("e%d", i)))
	}
	var group sync.WaitGroup
	for worker := range 8 {
		e := parsed[worker]
		group.Go(func() {
			for revision := range uint64(200) {
				r.Put(e, revision)
				r.SetStatus(e.Key(), disabled(revision))
				if held, found := r.Get(e.Key()); !found || held.Revision != revision || !held.Disabled() {
					t.Error("a writer sees its own write")
				}
				if revision%50 == 49 && worker%2 == 0 {
					r.Delete(e.Key())
				}
			}
		})
		group.Go(func() {
			for range 500 {
				list := r.Tenant("t1")
				for i := 1; i < len(list); i++ {
					if list[i-1].Name >= list[i].Name {
						t.Error("a snapshot is sorted")
					}
				}
				r.Len()
			}
		})
	}
	group.Wait()
	assert.Equal(t, 4, r.Len())
	assert.Equal(t, []string{"e1", "e3", "e5", "e7"}, names(r.Tenant("t1")))
	assert.Nil(t, r.Tenant("t0"))
}

func BenchmarkRegistryPut(b *testing.B) {
	for _, tenants := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("10000 endpoints of %d tenants", tenants), func(b *testing.B) {
			var r endpoint.Registry
			var last *endpoint.Endpoint
			for i := range 10_000 {
				last = parse(b, minimal(fmt.Sprintf("t%d", i%tenants), fmt.Sprintf("e%d", i)))
				r.Put(last, 1)
			}
			b.ReportAllocs()
			revision := uint64(1)
			for b.Loop() {
				revision++
				r.Put(last, revision)
			}
		})
	}
}

func BenchmarkRegistryTenant(b *testing.B) {
	var r endpoint.Registry
	r.Put(parse(b, minimal("acme", "a")), 1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if len(r.Tenant("acme")) != 1 {
				b.Error("one endpoint")
			}
		}
	})
}

// TestRegistryStatusFacts: whoever changes one fact of a status leaves the others, whether the endpoint is known or not.
func TestRegistryStatusFacts(t *testing.T) {
	key := endpoint.Key{Tenant: "acme", Name: "a"}
	for name, known := range map[string]bool{"known": true, "before the endpoint": false} {
		t.Run(name, func(t *testing.T) {
			var r endpoint.Registry
			if known {
				r.Put(parse(t, minimal("acme", "a")), 7)
			}
			r.SetStatus(key, disabled(7))
			after := r.UpdateStatus(key, func(s *endpoint.Status) { s.Held = &endpoint.Held{Detail: "refused"} })
			require.NotNil(t, after.Held)
			require.NotNil(t, after.Disabled)
			r.Put(parse(t, minimal("acme", "a")), 7)
			held, _ := r.Get(key)
			assert.True(t, held.Disabled())
			require.NotNil(t, held.Status.Held)
			assert.Len(t, r.Held(), 1)

			var kept *endpoint.Status
			r.UpdateStatus(key, func(s *endpoint.Status) { s.Held.Detail, kept = "changed in place", s })
			assert.Equal(t, "refused", held.Status.Held.Detail, "what was read before does not change")
			kept.Held.Detail = "changed later"
			held, _ = r.Get(key)
			assert.Equal(t, "changed in place", held.Status.Held.Detail)
			r.UpdateStatus(key, func(s *endpoint.Status) { s.Held = nil })
			held, _ = r.Get(key)
			assert.True(t, held.Disabled())
			assert.Empty(t, r.Held())
		})
	}
	t.Run("nothing is left of an endpoint that never came", func(t *testing.T) {
		var r endpoint.Registry
		assert.Equal(t, endpoint.Status{}, r.UpdateStatus(key, func(*endpoint.Status) {}))
		assert.Nil(t, r.Tenant("acme"))
		assert.Empty(t, r.All())
	})
}
