package identity_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
)

// shelf is a book in a test, with what it said.
type shelf struct {
	*identity.Book

	log     *safeBuffer
	mu      sync.Mutex
	changed []string
}

func newShelf(vault seal.Vault) *shelf {
	s := &shelf{log: &safeBuffer{}}
	s.Book = identity.NewBook(vault, identity.BookOptions{
		Logger: slog.New(slog.NewTextHandler(s.log, nil)),
		Changed: func(name string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed = append(s.changed, name)
		},
	})
	return s
}

func (s *shelf) changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.changed)
}

func (s *shelf) put(t *testing.T, r identity.Record, revision uint64) {
	t.Helper()
	s.Put(t.Context(), r.Key(), encoded(t, r), revision)
}

func presented(t *testing.T, source mtls.Source) string {
	t.Helper()
	i, err := source.Identity()
	require.NoError(t, err)
	return i.Fingerprint()
}

func refused(t *testing.T, source mtls.Source, words ...string) {
	t.Helper()
	i, err := source.Identity()
	assert.Nil(t, i)
	require.ErrorIs(t, err, mtls.ErrNoIdentity)
	for _, w := range words {
		require.ErrorContains(t, err, w)
	}
}

func TestASourceFollowsItsRecord(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	b := newShelf(vault)
	nobody, found := b.Source("default")
	assert.False(t, found)
	refused(t, nobody, `there is no client identity "default"`)

	first := created(t, "default", ca, vault, now)
	b.put(t, first, 5)
	source, found := b.Source("default")
	require.True(t, found)
	assert.Equal(t, first.Fingerprint(), presented(t, source))
	second, err := first.Renew(ca, vault, now)
	require.NoError(t, err)
	b.put(t, second, 7)
	assert.Equal(t, second.Fingerprint(), presented(t, source), "the same source")
	b.put(t, first, 6)
	assert.Equal(t, second.Fingerprint(), presented(t, source), "what is older is passed over")
	b.put(t, second, 8)
	assert.Equal(t, 2, b.changes(), "the same certificate again is no change")

	third, err := second.Renew(ca, vault, now)
	require.NoError(t, err)
	retired, err := third.Retire(now)
	require.NoError(t, err)
	b.put(t, retired, 9)
	refused(t, source, "was retired on", "let its endpoints name another one")
	b.put(t, third, 10)
	assert.Equal(t, third.Fingerprint(), presented(t, source))
	b.Remove(t.Context(), third.Key())
	refused(t, source, "was removed")
	_, found = b.Source("default")
	assert.False(t, found)
	assert.Empty(t, b.Records())
	b.put(t, first, 12)
	assert.Equal(t, first.Fingerprint(), presented(t, source), "and back again")
	pending, err := identity.Request("default", profile(), vault, now)
	require.NoError(t, err)
	b.put(t, pending, 13)
	refused(t, source, "waits for its certificate")
	assert.Equal(t, 7, b.changes())
	assert.NotContains(t, b.log.String(), "level=ERROR")
}

func TestABadRecordNeverReplacesAGoodOne(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	b := newShelf(vault)
	good := created(t, "default", ca, vault, now)
	b.put(t, good, 1)
	source, _ := b.Source("default")
	stranger := newVault(t)
	sealedElsewhere := created(t, "default", newAuthority(t, "main", stranger, now), stranger, now)
	swapped := bytes.Replace(encoded(t, created(t, "other", ca, vault, now)), []byte(`"name":"other"`), []byte(`"name":"default"`), 1)
	revision := uint64(1)
	for title, value := range map[string][]byte{
		"nonsense": []byte("nonsense"), "another master key": encoded(t, sealedElsewhere), "another's key": swapped,
		"another's record": encoded(t, created(t, "other", ca, vault, now)),
	} {
		before := strings.Count(b.log.String(), "level=ERROR")
		for range 3 {
			revision++
			b.Put(t.Context(), good.Key(), value, revision)
			assert.Equal(t, good.Fingerprint(), presented(t, source), title)
		}
		assert.Equal(t, before+1, strings.Count(b.log.String(), "level=ERROR"), "%s: said once", title)
	}
	assert.Contains(t, b.log.String(), "the one before stays in use")
	assert.Equal(t, 1, b.changes())
	better, err := good.Renew(ca, vault, now)
	require.NoError(t, err)
	b.put(t, better, revision+1)
	assert.Equal(t, better.Fingerprint(), presented(t, source))

	fresh := newShelf(vault)
	fresh.put(t, sealedElsewhere, 1)
	source, found := fresh.Source("default")
	assert.True(t, found)
	refused(t, source, "stays closed", "sealed under another master key")
	assert.Contains(t, fresh.log.String(), "in_use=none")
}

func TestEntriesOfOthersArePassedOver(t *testing.T) {
	t.Parallel()
	b := newShelf(newVault(t))
	for _, key := range []string{"assignment.default", "rotation.default.3.acme.orders", "", "identity"} {
		b.Put(t.Context(), key, []byte("x"), 1)
		b.Remove(t.Context(), key)
	}
	assert.Empty(t, b.log.String())
	b.Put(t.Context(), "identity.No", []byte("x"), 1)
	b.Put(t.Context(), "authority.a/b", []byte("x"), 1)
	assert.Equal(t, 2, strings.Count(b.log.String(), "foreign entry"))
	assert.Empty(t, b.Records())
	assert.Empty(t, b.Authorities())
}

// A certificate issued by a machine whose clock is ahead of ours must not leave
// us with nothing.
func TestDates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		vault, start := newVault(t), time.Now()
		ca := newAuthority(t, "main", vault, start)
		b := newShelf(vault)
		first := created(t, "default", ca, vault, start)
		b.put(t, first, 1)
		source, _ := b.Source("default")
		ahead, err := first.Renew(ca, vault, start.Add(3*time.Hour))
		require.NoError(t, err)
		b.put(t, ahead, 2)
		assert.Equal(t, first.Fingerprint(), presented(t, source), "not valid yet")
		<-time.After(3 * time.Hour)
		assert.Equal(t, ahead.Fingerprint(), presented(t, source), "and now it is")

		b.Put(t.Context(), ahead.Key(), []byte("nonsense"), 3)
		<-time.After(6 * day)
		assert.Equal(t, ahead.Fingerprint(), presented(t, source))
		<-time.After(2 * day)
		refused(t, source, "expired on", "and its successor cannot be used", "not a record")

		fresh := newShelf(vault)
		fresh.put(t, ahead, 1)
		source, _ = fresh.Source("default")
		refused(t, source, "expired on", `authority "main" should have renewed it`)
		future := newShelf(vault)
		later, err := first.Renew(ca, vault, time.Now().Add(day))
		require.NoError(t, err)
		future.put(t, later, 1)
		source, _ = future.Source("default")
		refused(t, source, "not valid before")
	})
}

func TestAuthoritiesOfABook(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	b := newShelf(vault)
	a := newAuthority(t, "main", vault, now)
	put := func(a identity.Authority, revision uint64) { b.Put(t.Context(), a.Key(), encoded(t, a), revision) }
	put(a, 1)
	put(newAuthority(t, "a-second", vault, now), 2)
	for range 2 {
		b.Put(t.Context(), a.Key(), []byte("nonsense"), 3)
	}
	b.Put(t.Context(), a.Key(), []byte("nonsense"), 4)
	assert.Equal(t, 1, strings.Count(b.log.String(), "stored authority cannot be used"))
	list := b.Authorities()
	require.Len(t, list, 2)
	assert.Equal(t, "a-second", list[0].Name)
	got, found := b.Authority("main")
	require.True(t, found)
	assert.Equal(t, a.Fingerprint(), got.Fingerprint(), "the last good one")
	put(newAuthority(t, "main", vault, now), 2)
	got, _ = b.Authority("main")
	assert.Equal(t, a.Fingerprint(), got.Fingerprint(), "what is older is passed over")
	b.Remove(t.Context(), a.Key())
	_, found = b.Authority("main")
	assert.False(t, found)
}

func TestABookMayBeUsedByMany(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	b := newShelf(vault)
	records := make([]identity.Record, 4)
	for i := range records {
		records[i] = created(t, "default", ca, vault, now)
	}
	b.put(t, records[0], 1)
	source, _ := b.Source("default")
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				i, err := source.Identity()
				if err != nil || i == nil {
					t.Errorf("a gap: %v", err)
					return
				}
				_ = b.Records()
				_ = b.Due(now)
				_ = fmt.Sprint(b.Authorities())
			}
		})
	}
	for revision := uint64(2); revision < 60; revision++ {
		b.put(t, records[revision%4], revision)
	}
	stop()
	readers.Wait()
}
