package rotation_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/rotation"
)

// fixed is a registry in which every endpoint has the same mark.
type fixed struct {
	mark string
	live []rotation.Target
}

func (f fixed) Live(string) []rotation.Target  { return f.live }
func (f fixed) Mark(endpoint.Key) string       { return f.mark }
func (f fixed) Partition(key endpoint.Key) int { return len(key.Tenant) }
func orders() endpoint.Key                     { return endpoint.Key{Tenant: "acme", Name: "orders"} }

func place() string { return rotation.StatusKey("default", 4, orders()) }

func encode(tb testing.TB, r interface{ Encode() ([]byte, error) }) []byte {
	tb.Helper()
	text, err := r.Encode()
	require.NoError(tb, err)
	return text
}

func accepted(a rotation.Assignment) rotation.Status {
	return rotation.Status{Rotation: a.Rotation.ID, Stage: rotation.Accepted, Basis: rotation.Said, Since: day(), Revision: 1, Mark: "m"}
}

// board holds a rotation to "next" in which acme/orders has accepted.
func board(tb testing.TB, a rotation.Assignment) *rotation.Board {
	tb.Helper()
	b := rotation.NewBoard(fixed{mark: "m"})
	require.NoError(tb, b.PutStatus(place(), encode(tb, accepted(a)), 6))
	require.NoError(tb, b.PutAssignment("assignment.default", encode(tb, a), 5))
	b.Loaded()
	return b
}

func TestPresents(t *testing.T) {
	a := started(t)
	with := func(change func(*rotation.Assignment)) rotation.Assignment {
		c := started(t)
		change(&c)
		return c
	}
	cases := []struct {
		name string
		a    rotation.Assignment
		want string
	}{
		{"running", a, "next"},
		{"paused", with(func(a *rotation.Assignment) { a.Rotation.State = rotation.Paused }), "next"},
		{"rolling back", with(func(a *rotation.Assignment) { a.Rotation.State = rotation.RollingBack }), "default"},
		{"another rotation", with(func(a *rotation.Assignment) { a.Rotation.ID = "ffffffffffffffff" }), "default"},
		{"completed", with(func(a *rotation.Assignment) { a.Rotation, a.Uses = nil, "next" }), "next"},
		{"rolled back", with(func(a *rotation.Assignment) { a.Rotation = nil }), "default"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := board(t, a)
			require.NoError(t, b.PutAssignment("assignment.default", encode(t, c.a), 9))
			assert.Equal(t, c.want, b.Presents("default", orders()))
		})
	}
	b := board(t, a)
	assert.Equal(t, "default", b.Presents("default", endpoint.Key{Tenant: "acme", Name: "other"}), "nothing proved")
	assert.Equal(t, "partner", b.Presents("partner", orders()), "never rotated")
}

func TestNothingIsPresentedBeforeTheStoreIsRead(t *testing.T) {
	b := rotation.NewBoard(fixed{mark: "m"})
	a := started(t)
	require.NoError(t, b.PutAssignment("assignment.default", encode(t, a), 5))
	assert.Empty(t, b.Presents("default", orders()))
	assert.Empty(t, b.Presents("partner", orders()))
	b.Loaded()
	assert.Equal(t, "default", b.Presents("default", orders()))
}

func TestProofIsForOneReceiver(t *testing.T) {
	a := started(t)
	for _, mark := range []string{"another", ""} {
		b := rotation.NewBoard(fixed{mark: mark})
		require.NoError(t, b.PutStatus(place(), encode(t, accepted(a)), 6))
		require.NoError(t, b.PutAssignment("assignment.default", encode(t, a), 5))
		b.Loaded()
		assert.Equal(t, "default", b.Presents("default", orders()))
		assert.False(t, b.Fell(rotation.Fall{Identity: "default", Endpoint: orders(), Presented: "next"}, day()))
	}
}

func TestOlderEntriesAreIgnored(t *testing.T) {
	a := started(t)
	b := board(t, a)
	done := a
	done.Rotation, done.Uses = nil, "next"
	require.NoError(t, b.PutAssignment("assignment.default", encode(t, done), 8))
	require.NoError(t, b.PutAssignment("assignment.default", encode(t, a), 8))
	require.NoError(t, b.PutAssignment("assignment.default", encode(t, a), 5))
	b.Remove("assignment.default", 7)
	got, revision, err := b.Assignment("default")
	require.NoError(t, err)
	assert.Nil(t, got.Rotation)
	assert.Equal(t, uint64(8), revision)

	b = board(t, a)
	b.Remove(place(), 9)
	require.NoError(t, b.PutStatus(place(), encode(t, accepted(a)), 6))
	assert.Equal(t, "default", b.Presents("default", orders()), "an entry that was removed does not come back")
	s, revision := b.Status("default", orders())
	assert.Zero(t, s)
	assert.Zero(t, revision, "it is to be created")
}

func TestUnreadableEntries(t *testing.T) {
	a := started(t)
	b := board(t, a)
	require.ErrorContains(t, b.PutStatus(place(), []byte(`{"version":2}`), 7), "version 2")
	assert.Equal(t, "default", b.Presents("default", orders()), "an unreadable status counts as waiting")
	_, revision := b.Status("default", orders())
	assert.Equal(t, uint64(7), revision, "and can be written over")

	b = board(t, a)
	require.ErrorContains(t, b.PutAssignment("assignment.default", []byte(`{"version":2}`), 7), "version 2")
	assert.Equal(t, "next", b.Presents("default", orders()), "the last good one stays in force")
	_, _, err := b.Assignment("default")
	require.ErrorContains(t, err, "cannot be read")
	_, err = b.Progress("default")
	require.Error(t, err)
	require.NoError(t, b.PutAssignment("assignment.default", encode(t, a), 8))
	_, _, err = b.Assignment("default")
	require.NoError(t, err)

	b = rotation.NewBoard(fixed{mark: "m"})
	require.ErrorContains(t, b.PutAssignment("assignment.partner", encode(t, a), 1), "stands under assignment.partner")
	b.Loaded()
	assert.Empty(t, b.Presents("partner", orders()), "nobody knows for whom it stands")
	b.Remove("assignment.partner", 2)
	assert.Equal(t, "partner", b.Presents("partner", orders()))
	assert.Empty(t, b.Identities())

	require.ErrorContains(t, b.PutAssignment("identity.default", nil, 1), "assignment.<identity>")
	require.ErrorContains(t, b.PutStatus("rotation.x", nil, 1), "rotation.<identity>")
	require.ErrorContains(t, b.PutStatus("rotation.default.5.acme.orders", encode(t, accepted(a)), 1), "the right one is 4")
	b.Remove("rotation.default.5.acme.orders", 9)
	b.Remove("identity.default", 9)
}

func TestFell(t *testing.T) {
	a := started(t)
	fall := rotation.Fall{Identity: "default", Endpoint: orders(), Presented: "next", Reason: strings.Repeat("é", 600), Advice: "ask"}
	b := board(t, a)
	for _, not := range []rotation.Fall{
		{Identity: "default", Endpoint: orders(), Presented: "default"}, // it was presented the current one
		{Identity: "default", Endpoint: endpoint.Key{Tenant: "acme", Name: "other"}, Presented: "next"},
		{Identity: "partner", Endpoint: orders(), Presented: "next"},
	} {
		assert.False(t, b.Fell(not, day()))
	}
	changed := b.Changed()
	at := day().Add(time.Hour)
	require.True(t, b.Fell(fall, at))
	select {
	case <-changed:
	default:
		t.Error("the runner was not woken")
	}
	assert.Equal(t, "default", b.Presents("default", orders()))
	s, revision := b.Status("default", orders())
	assert.Equal(t, uint64(6), revision, "that on which the fall is to be written")
	assert.Equal(t, rotation.Refused, s.Stage)
	assert.Equal(t, rotation.Inferred, s.Basis)
	assert.Equal(t, at.Add(rotation.Backoff(1, a.Rotation.ID, place())), s.NextProbe)
	assert.LessOrEqual(t, len(s.Reason), 1000)
	encode(t, s)
	require.NoError(t, b.PutStatus(place(), encode(t, accepted(a)), 6))
	assert.Equal(t, "default", b.Presents("default", orders()), "an echo of what fell changes nothing")
	require.NoError(t, b.PutStatus(place(), encode(t, accepted(a)), 7))
	assert.Equal(t, "next", b.Presents("default", orders()), "a newer proof does")
}

// An operator's word ends with the first refusal.
func TestAPinnedEndpointFallsLikeAnyOther(t *testing.T) {
	a := started(t)
	b := board(t, a)
	pinned := accepted(a)
	pinned.Basis, pinned.PinnedBy = rotation.ByHand, "ada"
	require.NoError(t, b.PutStatus(place(), encode(t, pinned), 7))
	require.True(t, b.Fell(rotation.Fall{Identity: "default", Endpoint: orders(), Presented: "next", Basis: rotation.Said, Reason: "no"}, day()))
	s, _ := b.Status("default", orders())
	assert.Empty(t, s.PinnedBy)
	encode(t, s)
}

func TestBoardIsForManyGoroutines(t *testing.T) {
	a := started(t)
	b := board(t, a)
	status := encode(t, accepted(a))
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			for i := range 200 {
				switch (n + i) % 4 {
				case 0:
					if err := b.PutStatus(place(), status, uint64(10+n*200+i)); err != nil {
						t.Error(err)
					}
				case 1:
					b.Fell(rotation.Fall{Identity: "default", Endpoint: orders(), Presented: "next"}, day())
				case 2:
					if _, err := b.Progress("default"); err != nil {
						t.Error(err)
					}
				default:
					assert.Contains(t, []string{"default", "next"}, b.Presents("default", orders()))
				}
			}
		})
	}
	group.Wait()
	assert.Equal(t, []string{"default"}, b.Identities())
}

func TestPresentsAllocatesNothing(t *testing.T) {
	b := board(t, started(t))
	assert.Zero(t, testing.AllocsPerRun(100, func() { b.Presents("default", orders()) }))
}

func BenchmarkPresents(b *testing.B) {
	for _, n := range []int{1, 10000} {
		b.Run(fmt.Sprintf("%d endpoints", n), func(b *testing.B) {
			a, err := rotation.Start(rotation.Assign("default"), "next", day(), "ada")
			require.NoError(b, err)
			held := board(b, a)
			for i := range n {
				key := endpoint.Key{Tenant: "acme", Name: fmt.Sprintf("e%d", i)}
				require.NoError(b, held.PutStatus(rotation.StatusKey("default", 4, key), encode(b, accepted(a)), 9))
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if held.Presents("default", orders()) != "next" {
						b.Error("wrong")
					}
				}
			})
		})
	}
}
