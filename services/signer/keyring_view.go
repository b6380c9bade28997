package signer

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
)

const (
	// sure is for how long the view is believed after it was found to be complete. With the time of one request it stays
	// below the second within which a revoked key has to stop signing everywhere.
	sure = 750 * time.Millisecond
	// renew is when it is looked again, in the background, so that a busy signer never has to ask for single keys.
	renew = 250 * time.Millisecond
	// lookTime bounds one look.
	lookTime = time.Second
)

// opened is a ring as it was written at a revision and a time. err says why it stays closed.
type opened struct {
	ring     signature.Ring
	revision uint64
	at       time.Time
	err      error
}

// view is what the watch of the bucket has handed on. The zero view knows nothing, and says so.
type view struct {
	mu    sync.RWMutex
	rings map[endpoint.Key]opened
	// whole tells that the watch has handed on everything that stood in the bucket when it began.
	whole bool
	// seen is the revision up to which the watch has come, in the bucket that was made at that time.
	seen uint64
	made time.Time
	// version counts the changes.
	version uint64
	// confirmed is the latest instant of which we know that everything written before it is in rings.
	confirmed time.Time
	looking   bool
	left      time.Time     // when the watch ended last
	moved     chan struct{} // closed when seen advances; nil while nobody waits
}

// begin: the bucket is read anew. What is gone from it meanwhile is taken back before it is complete.
func (v *view) begin(made time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rings == nil {
		v.rings = make(map[endpoint.Key]opened)
	}
	v.whole, v.seen, v.made, v.confirmed = false, 0, made, time.Time{}
	v.version++
}

// stop tells that nothing new comes in. What is known stays, for those who need no certainty.
func (v *view) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.whole {
		v.left = time.Now()
	}
	v.whole, v.confirmed = false, time.Time{}
}

func (v *view) complete(last uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.whole = true
	v.version++
	v.advance(last)
}

func (v *view) put(key endpoint.Key, held opened) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rings[key] = held
	v.version++
	v.advance(held.revision)
}

func (v *view) skip(revision uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.advance(revision)
}

// advance is called with the lock held.
func (v *view) advance(revision uint64) {
	v.seen = max(v.seen, revision)
	if v.moved != nil {
		close(v.moved)
		v.moved = nil
	}
}

// get returns an entry and for how long the view has not been confirmed.
func (v *view) get(key endpoint.Key, now time.Time) (held opened, known bool, age time.Duration) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	held, known = v.rings[key]
	if !v.whole || v.confirmed.IsZero() {
		return held, known, sure
	}
	return held, known, now.Sub(v.confirmed)
}

// all is a copy of everything that is known, and its version; nil when it is not everything.
func (v *view) all() (rings map[endpoint.Key]opened, version uint64) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if !v.whole {
		return nil, v.version
	}
	return maps.Clone(v.rings), v.version
}

// state is the version, and whether everything is known that the bucket has handed on; since when not, otherwise.
func (v *view) state() (version uint64, whole bool, left time.Time) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.version, v.whole, v.left
}

// startLook says whether the caller is to look; one does at a time.
func (v *view) startLook() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.looking || !v.whole {
		return false
	}
	v.looking = true
	return true
}

// endLook notes that everything before an instant is known.
func (v *view) endLook(confirmed bool, began time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looking = false
	if confirmed && v.whole {
		v.confirmed = began
	}
}

// reached tells whether the watch has come to a mark, or what to wait for; nil when it never will by waiting.
func (v *view) reached(to mark) (there bool, moved <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen >= to.revision || !v.made.Equal(to.made) {
		return v.made.Equal(to.made), nil
	}
	if v.moved == nil {
		v.moved = make(chan struct{})
	}
	return false, v.moved
}

// reach waits until the watch has come to a mark of the same bucket.
func (v *view) reach(ctx context.Context, to mark) bool {
	for {
		there, moved := v.reached(to)
		if moved == nil {
			return there
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

// known returns what memory has of an endpoint, if that can be relied on.
func (k *Keyring) known(ctx context.Context, key endpoint.Key) (opened, bool) {
	held, known, age := k.view.get(key, time.Now())
	if age >= renew && k.view.startLook() {
		go k.look(context.WithoutCancel(ctx))
	}
	return held, known && age < sure
}

// look finds out whether the view has everything that has been written until now.
func (k *Keyring) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	began := time.Now()
	last, err := k.last(ctx)
	k.view.endLook(err == nil && k.view.reach(ctx, last), began)
}

// mark is a place in the history of the bucket that was made at a time.
type mark struct {
	revision uint64
	made     time.Time
}

// last is the mark of what was written last into the bucket.
func (k *Keyring) last(ctx context.Context) (mark, error) {
	status, err := k.kv.Status(ctx)
	if err != nil {
		return mark{}, fmt.Errorf("look at bucket %s: %w", stream.SigningKeyBucket, err)
	}
	with, ok := status.(interface{ StreamInfo() *jetstream.StreamInfo })
	if !ok { // cannot happen: the client has one kind of status
		return mark{}, fmt.Errorf("look at bucket %s: the client tells no revision", stream.SigningKeyBucket)
	}
	info := with.StreamInfo()
	return mark{revision: info.State.LastSeq, made: info.Created}, nil
}
