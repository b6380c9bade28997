package signature

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxSigning is how many keys of one scheme may sign one request. Each is one
	// more signature in a header, and receivers look at a bounded number of them.
	MaxSigning = 20 // what DocuSign allows
	// maxPast is how many keys that do not sign any more a ring remembers, so that
	// an old key id can still be looked up and a revoked secret is refused when it
	// comes back.
	maxPast = 24
)

// Why a ring does not change as it was asked to.
var (
	// ErrNoSuchKey means that the ring holds no key of that id, or none of that
	// scheme that could be rotated.
	ErrNoSuchKey = errors.New("no such key")
	// ErrLastKey means that nothing could be signed any more without this key.
	ErrLastKey = errors.New("last active key")
	// ErrNotDecided means that a change would have to choose between keys, which
	// only a person can.
	ErrNotDecided = errors.New("more than one key could be meant")
	// ErrTooManyKeys means that more than [MaxSigning] keys of a scheme would sign.
	ErrTooManyKeys = errors.New("too many keys sign")
	// ErrKnownSecret means that the ring holds the same secret, or the same key pair,
	// already.
	ErrKnownSecret = errors.New("secret is known already")
)

// Ended reports whether the key's end has passed: it signs at [Key.NotAfter], and
// at no instant after it.
func (k Key) Ended(at time.Time) bool { return !k.NotAfter.IsZero() && at.After(k.NotAfter) }

// Signs reports whether the key signs at that instant.
func (k Key) Signs(at time.Time) bool {
	return (k.State == Active || k.State == Retiring) && !k.Ended(at)
}

// Over reports whether the key will never sign again.
func (k Key) Over(at time.Time) bool { return k.State >= Revoked || k.Ended(at) }

// Add returns a ring with one more key. The key is active at once when its state
// says so, or when nothing signs for its scheme yet; else it waits as the next
// one, of which a scheme has one at most.
//
// The error wraps [ErrKnownSecret] if the ring holds the same secret, revoked or
// not, [ErrNotDecided] if another key waits already, [ErrTooManyKeys], or
// [ErrInvalidKey].
func (r Ring) Add(k Key, now time.Time) (Ring, error) {
	for _, held := range r.keys {
		if held.Scheme == k.Scheme && sameSecret(held, k) {
			return Ring{}, fmt.Errorf("%w: it is that of key %s, which is %s; a new key needs a new secret", ErrKnownSecret, held.ID, held.State)
		}
		if place := k.Custody(); place != "" && place == held.Custody() {
			return Ring{}, fmt.Errorf("%w: key %s of scheme %s is at the same place; a key has one scheme, and another key another place", ErrKnownSecret, held.ID, held.Scheme)
		}
	}
	if k.State != Active {
		k.State = Next
	}
	if r.active(k.Scheme, now) == nil {
		k.State = Active
	}
	if waiting := r.waiting(k.Scheme); k.State == Next && len(waiting) > 0 {
		return Ring{}, fmt.Errorf("%w: key %s of scheme %s waits as the next one already; rotate to it, or revoke it", ErrNotDecided, waiting[0].ID, k.Scheme)
	}
	keys := append(r.past(now), k)
	return newSigningRing(keys, k.Scheme, now)
}

// Rotate makes the scheme's next key the active one. If none waits, made has to
// be one that does, and it is added. The key that was active retires: it signs
// beside the new one until now+overlap, and not after. retire names the one that
// retires when several are active; "" stands for the only one.
//
// The error wraps [ErrNoSuchKey] if the scheme has no key to rotate from,
// [ErrNotDecided] if several are active or wait, [ErrTooManyKeys] if an overlap
// that is too long for the pace of rotations lets too many keys sign, or
// [ErrInvalidKey].
func (r Ring) Rotate(scheme, retire string, made Key, now time.Time, overlap time.Duration) (Ring, Key, error) {
	old, err := r.retiree(scheme, retire, now)
	if err != nil {
		return Ring{}, Key{}, err
	}
	if overlap < 0 {
		return Ring{}, Key{}, fmt.Errorf("%w: an overlap of %s lies in the past", ErrInvalidKey, overlap)
	}
	waiting := r.waiting(scheme)
	if len(waiting) > 1 {
		return Ring{}, Key{}, fmt.Errorf("%w: %s wait as the next ones of scheme %s; revoke those that are not wanted", ErrNotDecided, keyNames(waiting), scheme)
	}
	fresh := made
	if len(waiting) == 1 {
		fresh = waiting[0]
	}
	if fresh.Scheme != scheme {
		return Ring{}, Key{}, fmt.Errorf("%w: key %q belongs to scheme %q, not %q", ErrInvalidKey, fresh.ID, fresh.Scheme, scheme)
	}
	if old.Custody() != "" && fresh.Custody() == "" && len(waiting) == 0 {
		return Ring{}, Key{}, fmt.Errorf("%w: key %s stays in a token, and a new one would lie sealed in the store; add the one that follows it first, in the token or not", ErrNotDecided, old.ID)
	}
	end := now.Add(overlap)
	if !old.NotAfter.IsZero() && old.NotAfter.Before(end) {
		end = old.NotAfter
	}
	old.State, old.NotAfter, fresh.State, fresh.NotAfter = Retiring, end, Active, time.Time{}
	keys := r.past(now)
	for _, k := range []Key{old, fresh} {
		if i := slices.IndexFunc(keys, func(o Key) bool { return o.ID == k.ID }); i >= 0 {
			keys[i] = k
		} else {
			keys = append(keys, k)
		}
	}
	ring, err := newSigningRing(keys, scheme, now)
	return ring, fresh, err
}

// retiree is the key that a rotation retires.
func (r Ring) retiree(scheme, id string, now time.Time) (Key, error) {
	active := r.active(scheme, now)
	if id != "" {
		for _, k := range active {
			if k.ID == id {
				return k, nil
			}
		}
		return Key{}, fmt.Errorf("%w: key %q is no active key of scheme %s; active: %s", ErrNoSuchKey, id, scheme, cmp.Or(keyNames(active), "none"))
	}
	switch len(active) {
	case 0:
		return Key{}, fmt.Errorf("%w: scheme %s has no active key to rotate from", ErrNoSuchKey, scheme)
	case 1:
		return active[0], nil
	}
	return Key{}, fmt.Errorf("%w: %s are active for scheme %s; say which one retires", ErrNotDecided, keyNames(active), scheme)
}

// Revoke returns a ring in which the key never signs again. needed lists the
// schemes that have to stay able to sign. A key that is revoked already stays as
// it is. The error wraps [ErrNoSuchKey], or [ErrLastKey] if the key is the only
// active one of a scheme that is needed.
func (r Ring) Revoke(id string, now time.Time, needed []string) (Ring, Key, error) {
	k, ok := r.Key(id)
	if !ok {
		return Ring{}, Key{}, fmt.Errorf("%w: %q", ErrNoSuchKey, id)
	}
	if k.State == Revoked {
		return r, k, nil
	}
	active := r.active(k.Scheme, now)
	if len(active) == 1 && active[0].ID == id && slices.Contains(needed, k.Scheme) {
		return Ring{}, k, fmt.Errorf("%w: without key %s nothing could be signed with scheme %s", ErrLastKey, id, k.Scheme)
	}
	k.State = Revoked
	if k.NotAfter.IsZero() || k.NotAfter.After(now) {
		k.NotAfter = now
	}
	ring, err := r.Put(k)
	return ring, k, err
}

// active are the scheme's keys that may sign alone.
func (r Ring) active(scheme string, now time.Time) []Key {
	var active []Key
	for _, k := range r.keys {
		if k.Scheme == scheme && k.State == Active && !k.Ended(now) {
			active = append(active, k)
		}
	}
	return active
}

// waiting are the scheme's keys that do not sign yet.
func (r Ring) waiting(scheme string) []Key {
	var waiting []Key
	for _, k := range r.keys {
		if k.Scheme == scheme && k.State == Next {
			waiting = append(waiting, k)
		}
	}
	return waiting
}

// past is a copy of the keys without those that have been over for longest, so
// that a ring that is rotated for ever stays small.
func (r Ring) past(now time.Time) []Key {
	var over []Key
	for _, k := range r.keys {
		if k.Over(now) {
			over = append(over, k)
		}
	}
	slices.SortStableFunc(over, func(a, b Key) int { return b.NotAfter.Compare(a.NotAfter) })
	forget := map[string]bool{}
	for _, k := range over[min(len(over), maxPast):] {
		forget[k.ID] = true
	}
	return slices.DeleteFunc(r.Keys(), func(k Key) bool { return forget[k.ID] })
}

// newSigningRing makes a ring in which not too many keys of the scheme sign.
func newSigningRing(keys []Key, scheme string, now time.Time) (Ring, error) {
	signing := 0
	for _, k := range keys {
		if k.Scheme == scheme && k.Signs(now) {
			signing++
		}
	}
	if signing > MaxSigning {
		return Ring{}, fmt.Errorf("%w: %d keys of scheme %s would sign every request, and at most %d may; wait until some have retired, or revoke some",
			ErrTooManyKeys, signing, scheme, MaxSigning)
	}
	return NewRing(keys...)
}

// sameSecret compares the public halves where there are any: a key in custody has
// nothing else to compare.
func sameSecret(a, b Key) bool {
	if a.Public() != "" || b.Public() != "" {
		return a.Public() == b.Public()
	}
	return subtle.ConstantTimeCompare([]byte(a.Reveal()), []byte(b.Reveal())) == 1
}

func keyNames(keys []Key) string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	return strings.Join(ids, ", ")
}
