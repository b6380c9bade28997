package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/schema"
)

// fanned is a schema that looks at the same value a hundred thousand times, each time in the way of a leaf.
func fanned(leaf string) string {
	refs := func(name string, times int) string {
		return strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"$ref":"#/$defs/%s"},`, name), times), ",")
	}
	return fmt.Sprintf(`{"allOf":[%s],"$defs":{"b":{"allOf":[%s]},"c":{"allOf":[%s]},"leaf":%s}}`,
		refs("b", 100), refs("c", 50), refs("leaf", 20), leaf)
}

// TestWorkIsCountedByTheSizeOfWhatIsLookedAt: a step that goes through a large value costs more than one that does not, or
// a few kilobytes of schema and one event keep a signer busy for minutes.
func TestWorkIsCountedByTheSizeOfWhatIsLookedAt(t *testing.T) {
	members := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`"m%d":1`, i)
		}
		return "{" + strings.Join(names, ",") + "}"
	}
	required := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`"m%d"`, i)
		}
		return "[" + strings.Join(names, ",") + "]"
	}
	items := "[" + strings.TrimSuffix(strings.Repeat("1,", 100_000), ",") + "]"
	long := `"` + strings.Repeat("x", 250_000) + `"`
	for name, c := range map[string]struct{ leaf, data string }{
		"a long text":             {`{"minLength":1}`, long},
		"a long text, no keyword": {`{"title":"x"}`, long},
		"many members":            {`{"properties":{"x":true}}`, members(20_000)},
		"members that are left":   {`{"unevaluatedProperties":true}`, members(20_000)},
		"items that are left":     {`{"unevaluatedItems":true}`, items},
		"many that are required":  {`{"required":` + required(8_000) + `}`, members(8_000)},
		"required and not there":  {`{"required":` + required(8_000) + `}`, `{}`},
		"required beside another": {`{"dependentRequired":{"m0":` + required(8_000) + `}}`, `{"m0":1}`},
		"names":                   {`{"propertyNames":true}`, members(20_000)},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := schema.Compile([]byte(fanned(c.leaf)))
			if err != nil { // it finds out when the schema is applied: empty data is enough
				require.ErrorContains(t, err, "takes too much work")
			} else {
				problems := s.Check([]byte(c.data))
				require.Len(t, problems, 1)
				assert.Contains(t, problems[0].Message, "takes too much work")
			}
		})
	}
}
