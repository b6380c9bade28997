package endpoint_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/endpoint"
)

// TestADocumentThatWasLostStays until another one comes, whatever its revision, or it is deleted.
func TestADocumentThatWasLostStays(t *testing.T) {
	var r endpoint.Registry
	key := endpoint.Key{Tenant: "acme", Name: "a"}
	assert.False(t, r.Lose(key))
	r.Put(parse(t, minimal("acme", "a")), 50)
	assert.False(t, r.Lose(endpoint.Key{Tenant: "acme", Name: "b"}))
	assert.True(t, r.Lose(key))
	held, found := r.Get(key)
	assert.True(t, found, "nobody has deleted it")
	assert.Zero(t, held.Revision)
	r.Put(parse(t, minimal("acme", "a")), 1)
	held, _ = r.Get(key)
	assert.Equal(t, uint64(1), held.Revision)
	r.Delete(key)
	assert.Zero(t, r.Len())
}
