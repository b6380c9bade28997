package identity

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
)

// BookOptions are the choices of [NewBook]. Every zero value is a good one.
type BookOptions struct {
	// Logger gets every change and, once, every problem; nothing is logged when nil.
	Logger *slog.Logger
	// Now is the clock against which validity is checked; time.Now when nil.
	Now func() time.Time
	// Changed, if not nil, is called after another certificate of this identity
	// has come into use, or none can be used any more. It must not block.
	Changed func(name string)
}

// Book is the bucket as one process sees it, opened. It may be used by any number
// of goroutines; whoever follows the bucket feeds it in the bucket's order.
type Book struct {
	vault   seal.Vault
	options BookOptions

	writing sync.Mutex // one entry at a time; opening keys takes a while

	mu          sync.RWMutex
	slots       map[string]*slot
	authorities map[string]heldAuthority
}

type heldAuthority struct {
	authority Authority
	revision  uint64 // of authority
	seen      uint64 // of the newest entry, which may have been a bad one
	logged    string
}

// NewBook makes an empty book whose keys the vault opens.
func NewBook(vault seal.Vault, options BookOptions) *Book {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Book{vault: vault, options: options, slots: make(map[string]*slot), authorities: make(map[string]heldAuthority)}
}

// Put takes an entry of the bucket. An entry of another kind than ours and one
// that is older than what is known are passed over. A bad one is logged, and the
// last good one stays in use.
func (b *Book) Put(ctx context.Context, key string, value []byte, revision uint64) {
	b.writing.Lock()
	defer b.writing.Unlock()
	switch {
	case strings.HasPrefix(key, recordPrefix):
		b.putRecord(ctx, key, value, revision)
	case strings.HasPrefix(key, authorityPrefix):
		b.putAuthority(ctx, key, value, revision)
	}
}

// Remove takes the removal of an entry: its identity can no longer be presented,
// its authority issues nothing.
func (b *Book) Remove(ctx context.Context, key string) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if name, err := nameIn(authorityPrefix, key); err == nil {
		b.mu.Lock()
		delete(b.authorities, name)
		b.mu.Unlock()
		return
	}
	name, err := nameIn(recordPrefix, key)
	if err != nil {
		return
	}
	s := b.slot(name)
	if s == nil {
		return
	}
	state := s.held.Load()
	if state.removed {
		return
	}
	s.logged = ""
	s.held.Store(&held{removed: true, seen: state.seen, problem: fmt.Errorf("%s was removed: create it again, or let its endpoints name another one", identityLabel(name))})
	b.options.Logger.InfoContext(ctx, "client identity removed", slog.String("name", name))
	b.changed(name)
}

func (b *Book) putRecord(ctx context.Context, key string, value []byte, revision uint64) {
	name, err := nameIn(recordPrefix, key)
	if err != nil {
		b.options.Logger.WarnContext(ctx, "foreign entry among the identities", slog.String("entry", key), slog.Any("error", err))
		return
	}
	s := b.slot(name)
	before := &held{removed: true}
	if s != nil {
		before = s.held.Load()
	} else {
		s = &slot{name: name, now: b.options.Now}
	}
	if revision <= before.seen {
		return
	}
	record, err := DecodeRecord(key, value)
	next := before.after(record, revision, err, b.vault, b.options.Now())
	s.held.Store(next)
	b.mu.Lock()
	b.slots[name] = s
	b.mu.Unlock()
	b.tell(ctx, s, before, next)
}

// tell logs what an entry meant. The same words are not said twice in a row.
func (b *Book) tell(ctx context.Context, s *slot, before, next *held) {
	log := b.options.Logger
	if bad := next.bad; bad != nil {
		if s.logged != bad.Error() {
			s.logged = bad.Error()
			inUse := "none"
			if i := next.presents(b.options.Now()); i != nil {
				inUse = i.Fingerprint()
			}
			log.LogAttrs(ctx, slog.LevelError, "stored client identity cannot be used; the one before stays in use until it expires",
				slog.String("name", s.name), slog.String("in_use", inUse), slog.Any("error", bad))
		}
		return
	}
	s.logged = ""
	if next.generation() == before.generation() {
		return
	}
	log.LogAttrs(ctx, slog.LevelInfo, "client identity changed", slog.Any("identity", next.record))
	b.changed(s.name)
}

func (b *Book) changed(name string) {
	if b.options.Changed != nil {
		b.options.Changed(name)
	}
}

func (b *Book) putAuthority(ctx context.Context, key string, value []byte, revision uint64) {
	name, err := nameIn(authorityPrefix, key)
	if err != nil {
		b.options.Logger.WarnContext(ctx, "foreign entry among the authorities", slog.String("entry", key), slog.Any("error", err))
		return
	}
	b.mu.RLock()
	have := b.authorities[name]
	b.mu.RUnlock()
	if revision <= have.seen {
		return
	}
	have.seen = revision
	a, err := DecodeAuthority(key, value)
	switch {
	case err == nil:
		have.authority, have.revision, have.logged = a, revision, ""
	case have.logged != err.Error():
		have.logged = err.Error()
		b.options.Logger.ErrorContext(ctx, "stored authority cannot be used; the one before stays in use",
			slog.String("name", name), slog.Any("error", err))
	}
	b.mu.Lock()
	b.authorities[name] = have
	b.mu.Unlock()
}

func (b *Book) slot(name string) *slot {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.slots[name]
}

// Source returns what the pool asks for this identity, and whether there is such
// an identity. The source follows the record, removal and return included.
func (b *Book) Source(name string) (mtls.Source, bool) {
	s := b.slot(name)
	if s == nil || s.held.Load().removed {
		return missing(name), false
	}
	return s, true
}

// missing is the source of an identity that there is not, so that nobody gets a
// nil one.
type missing string

// Identity fails.
func (m missing) Identity() (*mtls.Identity, error) {
	return nil, fmt.Errorf("%w: there is no %s", mtls.ErrNoIdentity, identityLabel(string(m)))
}

// Record returns the newest readable record of a name and its revision in the
// bucket, and whether there is one. Its key may still not open.
func (b *Book) Record(name string) (record Record, revision uint64, found bool) {
	s := b.slot(name)
	if s == nil {
		return Record{}, 0, false
	}
	state := s.held.Load()
	return state.record, state.revision, state.revision != 0
}

// Records returns the newest readable record of every name, by name.
func (b *Book) Records() []Record {
	b.mu.RLock()
	defer b.mu.RUnlock()
	records := make([]Record, 0, len(b.slots))
	for _, name := range slices.Sorted(maps.Keys(b.slots)) {
		if state := b.slots[name].held.Load(); state.revision != 0 {
			records = append(records, state.record)
		}
	}
	return records
}

// Authority returns the newest readable authority of a name, and whether there is
// one.
func (b *Book) Authority(name string) (a Authority, found bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	have := b.authorities[name]
	return have.authority, have.revision != 0
}

// Authorities returns every readable authority, by name.
func (b *Book) Authorities() []Authority {
	b.mu.RLock()
	defer b.mu.RUnlock()
	list := make([]Authority, 0, len(b.authorities))
	for _, name := range slices.Sorted(maps.Keys(b.authorities)) {
		if have := b.authorities[name]; have.revision != 0 {
			list = append(list, have.authority)
		}
	}
	return list
}

// Due returns the records that our authorities shall renew now, by name.
func (b *Book) Due(now time.Time) []Record {
	return slices.DeleteFunc(b.Records(), func(r Record) bool { return !r.Due(now) })
}
