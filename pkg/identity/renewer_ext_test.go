package identity_test

import (
	"context"
	"errors"
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
	"github.com/handfast/handfast/pkg/seal"
)

// bucket is a store with compare-and-set in memory, which tells its followers
// after a while, as a real one does.
type bucket struct {
	delay time.Duration

	mu        sync.Mutex
	revision  uint64
	last      map[string]uint64
	written   map[string]int
	conflicts int
	followers []*identity.Book
	failing   error
	pending   sync.WaitGroup
}

func newBucket(delay time.Duration) *bucket {
	return &bucket{delay: delay, last: make(map[string]uint64), written: make(map[string]int)}
}

// Update writes if nobody else has.
func (b *bucket) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failing != nil {
		return 0, b.failing
	}
	if b.last[key] != last {
		b.conflicts++
		return 0, fmt.Errorf("%w: revision %d is not %d", identity.ErrConflict, b.last[key], last)
	}
	b.revision++
	b.last[key] = b.revision
	b.written[key]++
	revision := b.revision
	for _, book := range b.followers {
		b.pending.Go(func() {
			select {
			case <-time.After(b.delay):
			case <-ctx.Done():
			}
			book.Put(context.WithoutCancel(ctx), key, value, revision)
		})
	}
	return revision, nil
}

func (b *bucket) writes(key string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written[key]
}

func (b *bucket) lost() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conflicts
}

func (b *bucket) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = err
}

// A year of 7-day certificates with three dispatchers: there is always a valid
// one, everywhere, and each renewal happens once.
func TestAYearOfShortLivedCertificates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		vault, start := newVault(t), time.Now()
		ctx, stop := context.WithCancel(t.Context())
		store, ca := newBucket(time.Second), newAuthority(t, "main", vault, start)
		books := make([]*identity.Book, 3)
		for n := range books {
			books[n] = identity.NewBook(vault, identity.BookOptions{})
			store.followers = append(store.followers, books[n])
		}
		names := []string{"default", "acme", "partner"}
		entries := map[string][]byte{ca.Key(): encoded(t, ca)}
		for _, n := range names {
			r := created(t, n, ca, vault, start)
			entries[r.Key()] = encoded(t, r)
		}
		for key, value := range entries {
			_, err := store.Update(ctx, key, value, 0)
			require.NoError(t, err)
		}
		<-time.After(2 * time.Second)

		var renewers sync.WaitGroup
		for _, book := range books {
			renewer := identity.NewRenewer(book, store, vault, identity.RenewerOptions{Interval: 30 * time.Minute})
			renewers.Go(func() { assert.NoError(t, renewer.Run(ctx)) })
		}
		for time.Since(start) < 365*day {
			<-time.After(2 * time.Hour)
			for _, book := range books {
				for _, n := range names {
					source, found := book.Source(n)
					require.True(t, found)
					i, err := source.Identity()
					require.NoError(t, err, "a gap after %s", time.Since(start))
					left := time.Until(i.Leaf().NotAfter)
					require.Greater(t, left, 2*day-3*time.Hour, "a third of the life is left, less jitter, when the next one comes")
				}
			}
		}
		stop()
		renewers.Wait()
		store.pending.Wait()
		for _, n := range names {
			// 7 days last 112 hours and up to 8.4 more until the next is issued.
			writes := store.writes(identity.RecordKey(n)) - 1
			assert.GreaterOrEqual(t, writes, 365*24/121-1, n)
			assert.LessOrEqual(t, writes, 365*24/111+1, "%s was renewed more often than it was due", n)
		}
	})
}

// Renewers that look at the same instant race; one wins, and the others say
// nothing.
func TestALostRaceIsNoProblem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		vault, start := newVault(t), time.Now()
		ctx, stop := context.WithCancel(t.Context())
		// Followers hear of a write only long after everybody has looked.
		store, ca, log := newBucket(time.Hour), newAuthority(t, "main", vault, start), &safeBuffer{}
		r := created(t, "default", ca, vault, start)
		store.last[r.Key()], store.revision = 7, 7
		var renewers sync.WaitGroup
		books := make([]*identity.Book, 3)
		for n := range books {
			books[n] = identity.NewBook(vault, identity.BookOptions{})
			books[n].Put(ctx, ca.Key(), encoded(t, ca), 1)
			books[n].Put(ctx, r.Key(), encoded(t, r), 7)
			store.followers = append(store.followers, books[n])
			renewer := identity.NewRenewer(books[n], store, vault, identity.RenewerOptions{Logger: slog.New(slog.NewTextHandler(log, nil))})
			renewers.Go(func() { assert.NoError(t, renewer.Run(ctx)) })
		}
		<-time.After(time.Until(r.RenewAt()) + 2*time.Hour)
		assert.Equal(t, 1, store.writes(r.Key()))
		assert.Positive(t, store.lost(), "the others tried")
		for _, book := range books {
			have, revision, found := book.Record("default")
			require.True(t, found)
			assert.EqualValues(t, 8, revision, "and all have the winner's")
			assert.NotEqual(t, r.Fingerprint(), have.Fingerprint())
		}
		assert.NotContains(t, log.String(), "level=ERROR")
		assert.Equal(t, 1, strings.Count(log.String(), "client identity renewed"))
		stop()
		renewers.Wait()
		store.pending.Wait()
	})
}

func TestWhatCannotBeRenewedIsSaidOnceAndTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		vault, start := newVault(t), time.Now()
		ctx, stop := context.WithCancel(t.Context())
		store, ca, log := newBucket(0), newAuthority(t, "main", vault, start), &safeBuffer{}
		book := identity.NewBook(vault, identity.BookOptions{})
		r := created(t, "default", ca, vault, start)
		store.last[r.Key()], store.revision = 7, 7
		book.Put(ctx, r.Key(), encoded(t, r), 7)
		renewer := identity.NewRenewer(book, store, vault, identity.RenewerOptions{Logger: slog.New(slog.NewTextHandler(log, nil))})
		var running sync.WaitGroup
		running.Go(func() { assert.NoError(t, renewer.Run(ctx)) })
		said := func() int { return strings.Count(log.String(), "level=ERROR") }

		<-time.After(time.Until(r.RenewAt()) + time.Hour)
		assert.Equal(t, 1, said(), "sixty looks, one line")
		assert.Contains(t, log.String(), `there is no authority \"main\" any more`)
		store.fail(errors.New("the store is away"))
		book.Put(ctx, ca.Key(), encoded(t, ca), 1)
		<-time.After(time.Hour)
		assert.Equal(t, 2, said(), "another problem, another line")
		assert.Contains(t, log.String(), "the store is away")
		store.fail(nil)
		<-time.After(2 * time.Minute)
		assert.Equal(t, 1, store.writes(r.Key()), "and at last it works")
		source, _ := book.Source("default")
		assert.NotEqual(t, r.Fingerprint(), presented(t, source), "in use at once")
		stop()
		running.Wait()
	})
}

// A dispatcher with the wrong master key must not renew into it.
func TestARenewerWithTheWrongMasterKeyWritesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		vault, start := newVault(t), time.Now()
		ctx, stop := context.WithCancel(t.Context())
		store, ca, wrong := newBucket(0), newAuthority(t, "main", vault, start), seal.Vault{}
		wrong.Current = newVault(t).Current
		book := identity.NewBook(wrong, identity.BookOptions{})
		r := created(t, "default", ca, vault, start)
		book.Put(ctx, ca.Key(), encoded(t, ca), 1)
		book.Put(ctx, r.Key(), encoded(t, r), 7)
		store.last[r.Key()] = 7
		var running sync.WaitGroup
		running.Go(func() {
			assert.NoError(t, identity.NewRenewer(book, store, wrong, identity.RenewerOptions{}).Run(ctx))
		})
		<-time.After(10 * day)
		assert.Zero(t, store.writes(r.Key()))
		stop()
		running.Wait()
	})
}
