package stream

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestRanksAreForLife: two versions side by side must agree on the order, or a partition has two owners for a while.
func TestRanksAreForLife(t *testing.T) {
	t.Parallel()
	members := []string{"dispatcher-1", "dispatcher-2", "dispatcher-3", "dispatcher-4"}
	var got strings.Builder
	for p := range 16 {
		for _, m := range members {
			got.WriteString(strconv.Itoa(rank(m, members, p) + 1)) // 0 is idle
		}
		got.WriteByte(' ')
	}
	assert.Equal(t, ranksOfSixteen, got.String())
}

// TestSharesAreFair looks at many fleets whose names are alike.
func TestSharesAreFair(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3, 5, 10} {
		members := make([]string, n)
		for i := range members {
			members[i] = fmt.Sprintf("handfast-dispatcher-7d9f8c6b5-%d", i)
		}
		count := make([]int, n)
		const partitions = 2000
		for p := range partitions {
			order := slices.Clone(members)
			slices.Reverse(order)
			for i, m := range members {
				r := rank(m, members, p)
				if r != rank(m, order, p) {
					t.Fatalf("the order of the list of members changes the rank of %s for partition %d", m, p)
				}
				if r == 0 {
					count[i]++
				}
			}
		}
		for i, c := range count {
			assert.InEpsilon(t, partitions/n, c, 0.25, "%d of %d", i, n)
		}
	}
}

func TestAStrangerPullsNothing(t *testing.T) {
	t.Parallel()
	assert.Equal(t, -1, rank("x", []string{"a", "b"}, 0))
	assert.Equal(t, -1, rank("x", nil, 0))
}

// ranksOfSixteen was computed by another implementation.
const ranksOfSixteen = "0321 3021 3012 0312 3201 2013 0123 3012 1203 3012 3102 3210 2301 2130 3021 2130 "
