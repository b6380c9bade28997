package signature

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []Field
		want []Field
	}{
		{"different names stay", []Field{{Name: "a", Value: "1"}, {Name: "b", Value: "1"}}, []Field{{Name: "a", Value: "1"}, {Name: "b", Value: "1"}}},
		{"same value collapses", []Field{{Name: "a", Value: "1"}, {Name: "A", Value: "1"}}, []Field{{Name: "a", Value: "1"}}},
		{
			"different values join",
			[]Field{{Name: "s", Value: "1", Separator: ","}, {Name: "S", Value: "2", Separator: ","}, {Name: "s", Value: "1", Separator: ","}},
			[]Field{{Name: "s", Value: "1,2", Separator: ","}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := merge(c.in)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestMergeRefusesConflicts(t *testing.T) {
	for name, in := range map[string][]Field{
		"no separator":         {{Name: "a", Value: "1"}, {Name: "a", Value: "2"}},
		"different separators": {{Name: "a", Value: "1", Separator: " "}, {Name: "a", Value: "2", Separator: ","}},
	} {
		_, err := merge(in)
		assert.ErrorIs(t, err, ErrFieldConflict, name)
	}
}
