package signer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/endpoint"
)

// TestMissedLettersAreBounded counts per endpoint and per document.
func TestMissedLettersAreBounded(t *testing.T) {
	at := func(name string, revision uint64) endpoint.Registered {
		return endpoint.Registered{Endpoint: &endpoint.Endpoint{Tenant: "acme", Name: name}, Revision: revision}
	}
	m := missed{most: 3}
	gone := at("gone", 7)
	gone.Status.Disabled = &endpoint.Disabled{Reason: "HTTP 410"}
	for want := 1; want <= 3; want++ {
		number := m.next(gone)
		assert.Equal(t, want, number)
		words := strings.Join(m.reasons(gone, number, 42), "; ")
		assert.Contains(t, words, "HTTP 410")
		assert.Equal(t, number == 3, strings.Contains(words, "what comes after event 42 leaves none"), "the last one says so: %s", words)
	}
	for range 5 {
		assert.Greater(t, m.next(at("gone", 7)), m.most, "no more letters")
	}
	assert.Equal(t, 1, m.next(at("another", 7)), "another endpoint has its own")
	assert.Equal(t, 1, m.next(at("gone", 9)), "disabled anew after its document was applied")
	m.forget(endpoint.Key{Tenant: "acme", Name: "gone"})
	assert.Equal(t, 1, m.next(at("gone", 9)))
	assert.Len(t, m.count, 2)
}
