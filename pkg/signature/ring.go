package signature

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// maxRingKeys bounds a ring: every signing key is one more signature in every
// request, and a verifier looks at [MaxSignatures] at most.
const maxRingKeys = 64

// Ring is the keys of one endpoint. It never changes: [Ring.Put] returns another
// one, so that it can be shared between goroutines. The zero Ring has no keys.
type Ring struct {
	keys []Key
	// signing holds, by scheme, the keys that sign, active ones first.
	signing map[string][]Key
	// custody tells that one of them stays in custody; see Bind.
	custody bool
}

// NewRing makes a ring of the keys, in their order. The error lists everything
// that is wrong with them and wraps [ErrInvalidKey]: bad or doubled ids, unknown
// schemes or states, keys without a secret, more than 64 keys.
func NewRing(keys ...Key) (Ring, error) {
	var problems []error
	if len(keys) > maxRingKeys {
		problems = append(problems, fmt.Errorf("%w: %d keys in one ring; at most %d are allowed, remove revoked ones", ErrInvalidKey, len(keys), maxRingKeys))
	}
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		problems = append(problems, k.validate())
		if seen[k.ID] {
			problems = append(problems, fmt.Errorf("%w: key %q: its id is used twice in the ring", ErrInvalidKey, k.ID))
		}
		seen[k.ID] = true
	}
	if err := errors.Join(problems...); err != nil {
		return Ring{}, err
	}
	r := Ring{keys: slices.Clone(keys), signing: map[string][]Key{}}
	r.custody = slices.ContainsFunc(r.keys, func(k Key) bool { return k.Custody() != "" })
	for _, state := range []State{Active, Retiring} {
		for _, k := range r.keys {
			if k.State == state {
				r.signing[k.Scheme] = append(r.signing[k.Scheme], k)
			}
		}
	}
	return r, nil
}

// Keys returns a copy of the ring's keys.
func (r Ring) Keys() []Key { return slices.Clone(r.keys) }

// Key returns the key with that id, and false if there is none.
func (r Ring) Key(id string) (Key, bool) {
	if i := r.index(id); i >= 0 {
		return r.keys[i], true
	}
	return Key{}, false
}

// Put returns a ring with the key added, or in place of the one with the same
// id. A replacement may change the state along the arrows drawn in the package
// comment, and the dates; it may not change the scheme or the secret. The error
// wraps [ErrInvalidKey].
func (r Ring) Put(k Key) (Ring, error) {
	i := r.index(k.ID)
	if i < 0 {
		return NewRing(append(r.Keys(), k)...)
	}
	old := r.keys[i]
	if !old.State.CanBecome(k.State) {
		return Ring{}, fmt.Errorf("%w: key %q is %s and cannot become %s", ErrInvalidKey, k.ID, old.State, k.State)
	}
	if old.Scheme != k.Scheme || old.Custody() != k.Custody() || !sameSecret(old, k) {
		return Ring{}, fmt.Errorf("%w: key %q has another scheme, place or secret than before; a new secret needs a new id", ErrInvalidKey, k.ID)
	}
	keys := r.Keys()
	keys[i] = k
	return NewRing(keys...)
}

func (r Ring) index(id string) int {
	return slices.IndexFunc(r.keys, func(k Key) bool { return k.ID == id })
}

// signers returns the keys that sign for the scheme at that time, or an error if
// none of them is active.
func (r Ring) signers(scheme string, now time.Time) ([]Key, error) {
	keys := r.signing[scheme]
	ended := func(k Key) bool { return !k.NotAfter.IsZero() && now.After(k.NotAfter) }
	if slices.ContainsFunc(keys, ended) {
		keys = slices.DeleteFunc(slices.Clone(keys), ended)
	}
	if len(keys) == 0 || keys[0].State != Active {
		return nil, fmt.Errorf("scheme %s: %w: %d of the endpoint's keys belong to this scheme, none is active at %s; create or activate one",
			scheme, ErrNoActiveKey, r.count(scheme), now.UTC().Format(time.RFC3339))
	}
	return keys, nil
}

// Has reports whether the ring holds a key of the scheme, in whatever state.
func (r Ring) Has(scheme string) bool {
	for i := range r.keys {
		if r.keys[i].Scheme == scheme {
			return true
		}
	}
	return false
}

func (r Ring) count(scheme string) int {
	n := 0
	for _, k := range r.keys {
		if k.Scheme == scheme {
			n++
		}
	}
	return n
}

// String describes the ring's keys without their secrets.
func (r Ring) String() string {
	parts := make([]string, len(r.keys))
	for i, k := range r.keys {
		parts[i] = k.String()
	}
	return "ring [" + strings.Join(parts, ", ") + "]"
}

// GoString is [Ring.String].
func (r Ring) GoString() string { return r.String() }

// Format writes [Ring.String] for every verb.
func (r Ring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue logs the keys' ids, schemes and states.
func (r Ring) LogValue() slog.Value {
	attrs := make([]slog.Attr, len(r.keys))
	for i, k := range r.keys {
		attrs[i] = slog.String(k.ID, k.Scheme+" "+k.State.String())
	}
	return slog.GroupValue(attrs...)
}

// MarshalJSON writes a list of the keys without their secrets. To store a ring,
// use [Ring.Seal].
func (r Ring) MarshalJSON() ([]byte, error) { return marshalList(r.keys) }
