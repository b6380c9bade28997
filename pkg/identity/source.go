package identity

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
)

// slot is one name of a book, and the source that it hands out.
type slot struct {
	name string
	now  func() time.Time
	held atomic.Pointer[held] // never nil once the slot is in the book

	logged string // the problem that was logged last; guarded by Book.writing
}

// held is one immutable snapshot of what is known under a name.
//
//	               new record, opens                     new record, does not open
//	identity A ──────────────────────▶ identity B ──────────────────────────────────▶ bad, fallback B
//	                                       │
//	                                       ├─ B not valid yet: fallback A until then
//	                                       └─ retired, removed, pending: neither
type held struct {
	record   Record // the newest readable one; the zero Record when there never was one
	revision uint64 // of record; 0 when there never was one
	seen     uint64 // of the newest entry, readable or not
	removed  bool

	identity *mtls.Identity // of record, whether it is within its dates or not
	fallback *mtls.Identity // what was in use before, while identity cannot be
	problem  error          // why identity is nil, for whoever asks for it
	bad      error          // why the newest entry cannot be used; nil for one that is retired or pending
}

// after is what is known once another entry has been seen; unreadable, if not
// nil, is why it could not be decoded.
func (h *held) after(record Record, revision uint64, unreadable error, vault seal.Vault, now time.Time) *held {
	next := &held{record: record, revision: revision, seen: revision}
	if unreadable != nil {
		next.record, next.revision = h.record, h.revision
		next.fallback, next.problem, next.bad = h.presents(now), unreadable, unreadable
		return next
	}
	if err := record.presentable(); err != nil {
		next.problem = err
		return next
	}
	i, err := record.Open(vault, within(now, record))
	if err != nil {
		next.fallback, next.problem, next.bad = h.presents(now), err, err
		return next
	}
	next.identity = i
	if i.CheckTime(now) != nil {
		// Perhaps only our clock is late: the one before serves until then.
		next.fallback = h.presents(now)
	}
	return next
}

// within is the nearest time at which the record's certificate is valid. Whether
// it is valid now is looked at whenever it is presented.
func within(now time.Time, r Record) time.Time {
	if now.Before(r.chain.leaf.NotBefore) {
		return r.chain.leaf.NotBefore
	}
	if now.After(r.chain.leaf.NotAfter) {
		return r.chain.leaf.NotAfter
	}
	return now
}

// presents is the identity that can be presented now, or nil.
func (h *held) presents(now time.Time) *mtls.Identity {
	for _, i := range []*mtls.Identity{h.identity, h.fallback} {
		if i != nil && i.CheckTime(now) == nil {
			return i
		}
	}
	return nil
}

// generation tells two certificates apart, whatever the time.
func (h *held) generation() string {
	for _, i := range []*mtls.Identity{h.identity, h.fallback} {
		if i != nil {
			return i.Generation()
		}
	}
	return ""
}

// Identity returns what can be presented now. The error matches
// mtls.ErrNoIdentity and says what to do: a retired, pending, removed or expired
// identity, or one whose record cannot be used.
func (s *slot) Identity() (*mtls.Identity, error) {
	h, now := s.held.Load(), s.now()
	if i := h.presents(now); i != nil {
		return i, nil
	}
	switch {
	case h.identity != nil && now.Before(h.identity.Leaf().NotBefore):
		return nil, fmt.Errorf("%w: %w", mtls.ErrNoIdentity, h.identity.CheckTime(now))
	case h.identity != nil:
		return nil, fmt.Errorf("%w: %w; %s", mtls.ErrNoIdentity, h.identity.CheckTime(now), h.record.remedy())
	case h.fallback != nil:
		return nil, fmt.Errorf("%w: %w; and its successor cannot be used: %w", mtls.ErrNoIdentity, h.fallback.CheckTime(now), h.problem)
	default:
		return nil, fmt.Errorf("%w: %w", mtls.ErrNoIdentity, h.problem)
	}
}
