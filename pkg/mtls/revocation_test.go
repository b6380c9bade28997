package mtls

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCacheIsBounded by number and by bytes, and counts right.
func TestCacheIsBounded(t *testing.T) {
	now := time.Now()
	sum := func(c *crlCache) (bytes int) {
		for _, h := range c.held {
			if h.list != nil {
				bytes += h.list.size
			}
		}
		return bytes
	}
	put := func(c *crlCache, n, size int, err error) {
		now = now.Add(time.Second)
		var list *crl
		if err == nil {
			list = &crl{size: size, thisUpdate: now, nextUpdate: now.Add(time.Hour)}
		}
		_, _ = c.put(listKey{url: strconv.Itoa(n), issuer: sha256.Sum256(nil)}, list, err, now)
		require.Equal(t, sum(c), c.bytes)
	}
	var c crlCache
	for n := range 2 * maxLists {
		put(&c, n, 100, nil)
		_, _, _ = c.get(listKey{url: "0", issuer: sha256.Sum256(nil)}, now)
	}
	assert.Len(t, c.held, maxLists)
	list, fresh, _ := c.get(listKey{url: "0", issuer: sha256.Sum256(nil)}, now)
	assert.NotNil(t, list, "what is in use stays")
	assert.True(t, fresh)
	for n := range 20 {
		put(&c, n, maxCRL, nil)
		put(&c, n, maxCRL, errors.New("x"))
		put(&c, n, maxCRL-1, nil)
	}
	assert.LessOrEqual(t, c.bytes, maxHeld)
	assert.Greater(t, c.bytes, maxHeld-maxCRL)
	for n := range 2 * maxLists {
		put(&c, -1-n, 0, errors.New("x"))
	}
	assert.Len(t, c.held, maxLists)
	assert.Zero(t, c.bytes)
}

// TestListsAreHeldPerIssuer: two issuers that name one address do not share what is there.
func TestListsAreHeldPerIssuer(t *testing.T) {
	var c crlCache
	now := time.Now()
	_, _ = c.put(listKey{url: "u", issuer: sha256.Sum256([]byte("a"))}, &crl{nextUpdate: now.Add(time.Hour)}, nil, now)
	list, fresh, _ := c.get(listKey{url: "u", issuer: sha256.Sum256([]byte("b"))}, now)
	assert.Nil(t, list)
	assert.False(t, fresh)
}

func TestReasonsAreInWords(t *testing.T) {
	assert.Equal(t, "since 1970-01-01T00:00:10Z, its key was compromised", withdrawal{at: 10, reason: 1}.String())
	for _, reason := range []int{-1, 7, 11, 99} {
		assert.Contains(t, withdrawal{reason: reason}.String(), fmt.Sprintf("reason %d", reason))
	}
}
