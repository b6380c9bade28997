package operator_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/services/handfast/operator"
)

func orderSchema() schema.Kind { return schema.Kind{Tenant: "acme", Type: "com.acme.order"} }

func document(t *testing.T, text string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(text))
	require.NoError(t, err)
	return s
}

func TestVersionsOfSchemas(t *testing.T) {
	r := start(t)
	text := document(t, `{"type":"string"}`)
	change, err := r.ApplySchema(t.Context(), orderSchema(), 0, text, "", true)
	require.NoError(t, err)
	assert.Equal(t, operator.Created, change.Kind)
	_, err = r.FindSchema(t.Context(), orderSchema(), 0)
	require.ErrorContains(t, err, "there is no schema of acme/com.acme.order; `handfast schema list` shows all", "a dry run stores nothing")

	change, err = r.ApplySchema(t.Context(), orderSchema(), 5, text, "https://schemas.example.com", false)
	require.NoError(t, err)
	assert.Equal(t, "https://schemas.example.com/schemas/acme/com.acme.order/5", change.URI)
	change, err = r.ApplySchema(t.Context(), orderSchema(), 0, text, "", false)
	require.NoError(t, err)
	assert.Equal(t, operator.SchemaChange{
		Schema: "acme/com.acme.order", Version: 5, Kind: operator.Unchanged, URI: "https://schemas.example.com/schemas/acme/com.acme.order/5",
		Notes: []string{"its URI stays https://schemas.example.com/schemas/acme/com.acme.order/5: it is chosen once"},
	}, change)
	change, err = r.ApplySchema(t.Context(), orderSchema(), 2, document(t, `{"type":"number"}`), "", false)
	require.NoError(t, err)
	assert.Equal(t, []string{"events go by version 5, unless they name this one by their dataschema or an endpoint pins it"}, change.Notes)
	_, err = r.ApplySchema(t.Context(), orderSchema(), 2, text, "", false)
	require.ErrorContains(t, err, "apply this one as version 6 (--version 6, or none)")
	_, err = r.DeleteSchema(t.Context(), schema.Name{Kind: orderSchema(), Number: 3})
	require.ErrorContains(t, err, "the schema of acme/com.acme.order has no version 3; there is 2 (active), 5 (active)")
	_, err = r.DeleteSchema(t.Context(), schema.Name{Kind: orderSchema(), Number: 5})
	require.NoError(t, err)
	change, err = r.DeleteSchema(t.Context(), schema.Name{Kind: orderSchema(), Number: 5})
	require.NoError(t, err)
	assert.Equal(t, operator.Unchanged, change.Kind)
	found, err := r.FindSchema(t.Context(), orderSchema(), 0)
	require.NoError(t, err)
	assert.Equal(t, 2, found.Number)

	var pins []*endpoint.Endpoint
	for _, name := range []string{"a", "b"} {
		e, err := endpoint.Parse([]byte(`{"tenant":"acme","name":"` + name + `","url":"https://hooks.example.com","schema":{"pin":{"com.acme.order":"5","com.acme.x":"1"}}}`))
		require.NoError(t, err)
		pins = append(pins, e)
	}
	_, err = r.Apply(t.Context(), pins, operator.Application{})
	for _, name := range []string{"a", "b"} {
		require.ErrorContains(t, err, "endpoint acme/"+name+": schema.pin: version 5 of the schema of acme/com.acme.order is deleted; pin one that is active")
		require.ErrorContains(t, err, "endpoint acme/"+name+": schema.pin: there is no schema of acme/com.acme.x")
	}
	_, err = r.Endpoint(t.Context(), endpoint.Key{Tenant: "acme", Name: "a"})
	require.ErrorContains(t, err, "there is no endpoint acme/a", "nothing was changed")
}

// TestTwoPeopleApplyAtOnce: one of them gets the version, whoever it is, and the other one is told.
func TestTwoPeopleApplyAtOnce(t *testing.T) {
	r := start(t)
	var all sync.WaitGroup
	results := make([]error, 4)
	for i := range results {
		s := document(t, fmt.Sprintf(`{"title":"%d"}`, i))
		all.Go(func() { _, results[i] = r.ApplySchema(t.Context(), orderSchema(), 1, s, "", false) })
	}
	all.Wait()
	stored := 0
	for _, err := range results {
		if err == nil {
			stored++
			continue
		}
		assert.Regexp(t, "was applied by somebody else at this moment|is there with another content", err.Error())
	}
	assert.Equal(t, 1, stored)
}
