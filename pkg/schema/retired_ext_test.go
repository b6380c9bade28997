package schema_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/schema"
)

// TestARetirementKeepsWhatWasBefore deletes and restores a version twice.
func TestARetirementKeepsWhatWasBefore(t *testing.T) {
	t.Parallel()
	write := func(how func() ([]byte, error), stored time.Time) schema.Retirement {
		value, err := how()
		require.NoError(t, err)
		return schema.ReadRetirement(value, stored)
	}
	deleted := write(schema.Retirement{}.Delete, at(10))
	assert.Equal(t, schema.Retirement{At: at(10)}, deleted)
	restored := write(deleted.Restore, at(20))
	assert.True(t, restored.At.IsZero())
	again := write(restored.Delete, at(30))
	last := write(again.Restore, at(40))
	require.Len(t, last.Gaps, 2)

	var r schema.Registry
	name := schema.Name{Kind: orders(), Number: 1}
	r.SetRetirement(name, last) // before the version comes
	put(t, &r, 1, 0, `{}`, "")
	for when, in := range map[time.Time]bool{
		at(5): true, at(15): false, at(25): true, at(35): false, at(45): true,
		at(10).Add(schema.Delay - 1): true, at(10).Add(schema.Delay): false, at(20).Add(schema.Delay - 1): false, at(20).Add(schema.Delay): true,
	} {
		assert.Equal(t, in, r.Set(orders()).Newest(when) != nil, "%s", when)
	}
	assert.Equal(t, "active", r.Set(orders()).Version(1).State())
	r.SetRetirement(name, again)
	assert.Equal(t, "deleted", r.Set(orders()).Version(1).State())
	assert.Nil(t, r.Set(orders()).Newest(at(45)))
	assert.Nil(t, r.Set(orders()).Newest(at(15)))
	assert.Equal(t, schema.Retirement{At: at(1)}, schema.ReadRetirement([]byte(`what is this`), at(1)), "written by hand")
	assert.Equal(t, schema.Retirement{At: at(1)}, schema.ReadRetirement([]byte(`{"restored":true}`), at(1)))
}
