package stream_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

const (
	lease      = 10 * time.Second
	partitions = 32
)

// member is a dispatcher that only keeps its lease.
type member struct {
	*stream.Membership

	leave func() // in order
	crash func() // without a word
}

func join(t *testing.T, b *broker, id string) *member {
	t.Helper()
	nc := dial(t, b.server, id)
	m, err := stream.Join(t.Context(), jetstreamOf(t, nc), id, lease, quiet())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Run(ctx)
	}()
	stop := func() {
		cancel()
		<-ended
		nc.Close()
	}
	t.Cleanup(stop)
	return &member{Membership: m, leave: stop, crash: nc.Close}
}

// ranks are the ranks of a partition, one of each member.
func ranks(partition int, members ...*member) []int {
	all := make([]int, 0, len(members))
	for _, m := range members {
		all = append(all, m.Rank(partition))
	}
	return all
}

// owners says which member is served first, by partition.
func owners(t *testing.T, members ...*member) []int {
	t.Helper()
	all := make([]int, partitions)
	for p := range all {
		r := ranks(p, members...)
		all[p] = slices.Index(r, 0)
		slices.Sort(r)
		want := []int{0, 1, 2}[:min(3, len(r))]
		for range len(members) - len(want) {
			want = slices.Insert(want, 0, -1)
		}
		require.Equal(t, want, r, "the ranks of partition %d are a permutation, and no more than three pull", p)
	}
	return all
}

// moved fails when a partition has another owner although its old one is there.
func moved(t *testing.T, before, after []int, gone int) {
	t.Helper()
	count := 0
	for p := range before {
		if before[p] == gone || after[p] == gone {
			count++
			continue
		}
		require.Equal(t, before[p], after[p], "partition %d was not the share of the one that came or went", p)
	}
	assert.InDelta(t, partitions/3, count, 8, "a fair share")
}

func TestDispatchersShareThePartitions(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		first, second := join(t, b, "dispatcher-1"), join(t, b, "dispatcher-2")
		pass(time.Second)
		for _, m := range []*member{first, second} {
			assert.Equal(t, []string{"dispatcher-1", "dispatcher-2"}, m.Members())
		}
		two := owners(t, first, second)

		changed := first.Changed()
		third := join(t, b, "dispatcher-3")
		pass(time.Second)
		select {
		case <-changed:
		default:
			t.Error("nobody was told of the third")
		}
		three := owners(t, first, second, third)
		moved(t, two, three, 2)

		quietly := first.Changed()
		pass(time.Hour)
		select {
		case <-quietly:
			t.Error("renewing a lease is no change")
		default:
		}
		assert.Equal(t, three, owners(t, first, second, third), "and stay for as long as they renew")

		began := time.Now()
		third.leave()
		pass(100 * time.Millisecond)
		assert.Equal(t, two, owners(t, first, second), "what the third had goes back, at once")
		assert.Less(t, time.Since(began), time.Second)
		pass(5 * time.Minute)
		assert.Equal(t, 2, b.count(t, "KV_"+stream.DispatcherBucket), "a dispatcher that left leaves nothing behind")
	})
}

func TestACrashedDispatcherIsCountedOut(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		all := []*member{join(t, b, "a"), join(t, b, "b"), join(t, b, "c")}
		pass(time.Second)
		before := owners(t, all...)
		crashed := time.Now()
		all[1].crash()
		changed := all[0].Changed()
		<-changed
		assert.WithinRange(t, time.Now(), crashed.Add(lease*2/3-time.Second), crashed.Add(lease+2*time.Second), "its last lease, and not less")
		pass(time.Second)
		assert.Equal(t, []string{"a", "c"}, all[0].Members())
		assert.Equal(t, []string{"a", "c"}, all[2].Members())
		after := owners(t, all[0], all[2])
		for p, owner := range after { // as places among the three
			after[p] = []int{0, 2}[owner]
		}
		moved(t, before, after, 1)
		assert.Contains(t, all[1].Members(), "b", "it never counts itself out: whoever can pull, may")
	})
}

func TestTheFourthDispatcherOfAPartitionIsIdle(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		var all []*member
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			all = append(all, join(t, b, id))
		}
		pass(time.Second)
		count := map[int]int{}
		for _, owner := range owners(t, all...) { // checks that two of five have rank -1
			count[owner]++
		}
		for i := range all {
			assert.Positive(t, count[i], "member %d has a share", i)
		}
	})
}

func TestADispatcherAloneHasEverything(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, _ := applied(t)
		m, err := stream.Join(t.Context(), b.js, "alone", lease, quiet())
		require.NoError(t, err)
		for p := range partitions {
			assert.Zero(t, m.Rank(p), "before it knows of anybody")
		}
		members := m.Members()
		members[0] = "x"
		assert.Equal(t, []string{"alone"}, m.Members(), "a copy is handed out")

		require.NoError(t, b.js.DeleteKeyValue(t.Context(), stream.DispatcherBucket))
		_, err = stream.Join(t.Context(), b.js, "alone", lease, quiet())
		require.ErrorContains(t, err, "open bucket dispatchers")
	})
}
