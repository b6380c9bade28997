package receiver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// Store keeps small records for [New], so that each delivery is processed once. It is a map whose entries go away, with
// one atomic step; the rules (what is a duplicate, what is a replay) stay in this package, so that a store cannot get them
// wrong. [NewMemory] is one for a single process. Several processes behind one address need a shared one, such as those
// of pkg/receiver/redis and pkg/receiver/nats.
//
// A store that fails makes the receiver answer 503: nothing is processed that could not be remembered.
type Store interface {
	// Get returns what was stored under the key, and nil if there is nothing.
	Get(ctx context.Context, key string) ([]byte, error)
	// Swap replaces old by value in one step and keeps it as long as keep says. A nil old means that there is nothing
	// under the key. False means that something else is there, and that nothing was changed.
	Swap(ctx context.Context, key string, old, value []byte, keep Keep) (bool, error)
}

// Keep says how long a record has to stay.
type Keep struct {
	// Needed is the time before which forgetting the record would let a replay through.
	Needed time.Duration
	// Useful is the time for which the record helps to recognise a duplicate, never less than Needed. A store that runs
	// out of room may forget a record between the two; one with room forgets it after Useful.
	Useful time.Duration
}

// ErrFull is what a [Store] with a bound answers when all that it holds is still needed.
var ErrFull = errors.New("the store of delivery ids is full")

// standing is what the store's record makes of a verified request.
type standing uint8

const (
	unclear   standing = iota // the store did not tell: do not process
	claimed                   // ours to process
	duplicate                 // processed before: acknowledge
	busy                      // another request with the id is being processed: come again
	replayed                  // this attempt, or a later one, was seen before: refuse
	changed                   // the same id came with another body: refuse
)

// String is what the span's attribute handfast.delivery.standing tells.
func (s standing) String() string {
	return [...]string{"unclear", "claimed", "duplicate", "busy", "replayed", "changed"}[s]
}

// attempt is one verified request, as the ledger sees it.
type attempt struct {
	key    string
	owner  string // tells our own claim from that of another process
	digest string
	signed int64 // Unix seconds; 0 if the scheme signs no time
	fresh  time.Time
	stored []byte // the record as we claimed it
}

// ledger applies the rules of the package comment to a store.
type ledger struct {
	store     Store
	realm     string
	now       func() time.Time
	lease     time.Duration
	remember  time.Duration
	tolerance time.Duration
}

// clockSkew is how far the clocks of receivers that share a store may be apart: the one that is behind takes an attempt for
// fresh a little longer.
const clockSkew = 10 * time.Second

// maxContest bounds how often a step is tried again when other processes change the same record at the same time.
const maxContest = 8

var (
	errContest = errors.New("too many requests with one id at the same time; send it again later")
	errLost    = errors.New("the handler took longer than its claim lasts, and another request with the id was let in")
)

// attempt describes a verified request. The key does not tell who sent it or with which key it was signed: the same
// delivery under another certificate, or with one of its signatures taken away, is the same delivery.
func (l ledger) attempt(v signature.Verified, body []byte) attempt {
	digest := sha256.Sum256(body)
	a := attempt{owner: rand.Text(), digest: hex.EncodeToString(digest[:])}
	id := "id\x00" + v.ID
	if v.ID == "" {
		id = "body\x00" + a.digest
		if v.Content != ([sha256.Size]byte{}) {
			id = "content\x00" + hex.EncodeToString(v.Content[:])
		}
	}
	if !v.Time.IsZero() {
		a.signed = v.Time.Unix()
		a.fresh = v.Time.Add(l.tolerance + clockSkew)
		if v.ID == "" {
			id += fmt.Sprintf("\x00%d", a.signed)
		}
	} else {
		a.fresh = l.now().Add(l.tolerance)
	}
	key := sha256.Sum256([]byte(l.realm + "\x00" + id))
	a.key = hex.EncodeToString(key[:])
	return a
}

// begin notes the attempt and tells what to do with it; for busy also how long the other claim lasts.
func (l ledger) begin(ctx context.Context, a *attempt) (standing, time.Duration, error) {
	var old []byte
	for range maxContest {
		now := l.now()
		before, err := decodeRecord(old)
		if err != nil {
			return unclear, 0, err
		}
		state, after := l.judge(before, *a, now)
		if state == replayed || state == changed {
			return state, 0, nil
		}
		value := after.encode()
		ok, err := l.store.Swap(ctx, a.key, old, value, after.keep(now))
		if err != nil {
			return unclear, 0, fmt.Errorf("remember the delivery: %w", err)
		}
		if ok {
			a.stored = value
			return state, after.leased().Sub(now), nil
		}
		if old, err = l.store.Get(ctx, a.key); err != nil {
			return unclear, 0, fmt.Errorf("look up the delivery: %w", err)
		}
	}
	return unclear, 0, errContest
}

// judge is the table of the package comment. A verified attempt moves the record's time forward whatever comes of it, so
// that the attempt itself cannot be replayed.
func (l ledger) judge(r record, a attempt, now time.Time) (standing, record) {
	known := r.Phase != absent && now.Before(r.until())
	switch {
	case !known:
		return claimed, l.claim(record{}, a, now)
	case r.Digest != a.digest:
		return changed, r
	case a.signed != 0 && a.signed <= r.Signed:
		return replayed, r
	case r.Phase == done:
		return duplicate, r.seen(a)
	case r.Phase == processing && now.Before(r.leased()):
		return busy, r.seen(a)
	}
	return claimed, l.claim(r, a, now)
}

func (l ledger) claim(r record, a attempt, now time.Time) record {
	r.Phase, r.Owner, r.Digest = processing, a.owner, a.digest
	r.Lease = now.Add(l.lease).UnixNano()
	r.Until = max(r.Until, r.Lease)
	r.Fresh = max(r.Fresh, r.Lease)
	return r.seen(a)
}

// end notes what the handler did with the attempt that begin claimed.
func (l ledger) end(ctx context.Context, a *attempt, as phase) error {
	old := a.stored
	for range maxContest {
		r, err := decodeRecord(old)
		if err != nil {
			return err
		}
		if r.Phase != processing || r.Owner != a.owner {
			return errLost
		}
		now := l.now()
		r.Phase, r.Owner, r.Lease = as, "", 0
		r.Until = max(r.Fresh, a.fresh.UnixNano())
		if as == done {
			r.Until = max(r.Until, now.Add(l.remember).UnixNano())
		}
		ok, err := l.store.Swap(ctx, a.key, old, r.encode(), r.keep(now))
		if ok || err != nil {
			return err
		}
		if old, err = l.store.Get(ctx, a.key); err != nil {
			return err
		}
	}
	return errContest
}
