package signature

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Used says which key signed for which scheme.
type Used struct {
	Scheme string
	KeyID  string
}

// Signer signs a request with several schemes side by side. The zero value is
// ready; it holds no keys and may be used by many goroutines.
type Signer struct {
	// Around, when set, is called before each scheme signs, and what it returns
	// is called with the keys that signed. It is the place for a span.
	Around func(scheme string) (signed func(used []Used, err error))
	// Template is what [TemplateScheme] writes; the other schemes ignore it.
	Template Template
}

// Sign signs r with each of the schemes and every key of the ring that is active
// or retiring at r.Time, and returns the header fields to add and the keys that
// were used. A scheme is shown its own keys only; one that has room for a single
// signature (see [OneKey]) is shown the first active one.
//
// r.URL is the one that the request will be sent to: [Query] says what has to be
// appended to it first. A scheme that misses it there refuses to sign.
//
// It signs with all of the schemes or not at all. The error lists every reason:
// it wraps [ErrInvalidRequest], [ErrUnknownScheme] (also for no scheme at all, or
// one named twice), [ErrNoActiveKey] or [ErrFieldConflict].
func (s Signer) Sign(r Request, schemes []string, ring Ring) ([]Field, []Used, error) {
	var room [4]turn // more than most endpoints have
	turns, problems := s.turns(room[:0], r, schemes, ring)
	if problems != nil {
		return nil, nil, problems
	}
	var (
		fields []Field
		used   []Used
		failed []error
	)
	for i := range turns {
		added, err := s.one(turns[i].scheme, r, turns[i].keys)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		switch {
		case len(turns) == 1:
			fields = added // needs no copy
		case fields == nil:
			fields = append(make([]Field, 0, len(turns)*(len(added)+1)), added...)
		default:
			fields = append(fields, added...)
		}
		if used == nil {
			used = make([]Used, 0, len(turns)-1+len(turns[i].keys)) // most schemes have one key
		}
		used = appendUsed(used, turns[i].keys)
	}
	if len(failed) == 0 && len(schemes) > 1 {
		var err error
		if fields, err = merge(fields); err != nil {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return nil, nil, err
	}
	return fields, used, nil
}

// turn is one scheme with the keys that it signs with.
type turn struct {
	scheme Scheme
	keys   []Key
}

// turns looks for every reason not to sign before anything is signed.
func (s Signer) turns(turns []turn, r Request, schemes []string, ring Ring) ([]turn, error) {
	if len(schemes) == 0 {
		return nil, fmt.Errorf("%w: no scheme given, and nothing is ever sent unsigned; use one of %s", ErrUnknownScheme, strings.Join(Schemes(), ", "))
	}
	var problems []error
	if err := r.validate(); err != nil {
		problems = append(problems, err)
	}
	for i, name := range schemes {
		if slices.Contains(schemes[:i], name) {
			problems = append(problems, fmt.Errorf("%w: %s is given twice", ErrUnknownScheme, name))
			continue
		}
		known, err := s.lookup(name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		keys, err := ring.signers(name, r.Time)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if known.oneKey {
			keys = keys[:1]
		}
		turns = append(turns, turn{scheme: known.Scheme, keys: keys})
	}
	return turns, errors.Join(problems...)
}

// lookup is lookup with the template in its scheme.
func (s Signer) lookup(name string) (entry, error) {
	known, err := lookup(name)
	if err != nil || name != TemplateScheme {
		return known, err
	}
	if known.Scheme, err = s.Template.Scheme(); err != nil {
		return entry{}, fmt.Errorf("scheme %s: %w: %w", name, ErrInvalidRequest, err)
	}
	known.oneKey = s.Template.OneKey()
	return known, nil
}

func (s Signer) one(scheme Scheme, r Request, keys []Key) ([]Field, error) {
	if s.Around == nil {
		return scheme.Sign(r, keys) //nolint:wrapcheck // the schemes are this package's
	}
	signed := s.Around(scheme.Name())
	fields, err := scheme.Sign(r, keys)
	signed(appendUsed(nil, keys), err)
	return fields, err //nolint:wrapcheck // as above
}

func appendUsed(used []Used, keys []Key) []Used {
	used = slices.Grow(used, len(keys))
	for i := range keys {
		used = append(used, Used{Scheme: keys[i].Scheme, KeyID: keys[i].ID})
	}
	return used
}

// merge puts the fields of one name into one field: a value that is there
// already is left out, another one is joined by the separator on which both
// schemes agree.
func merge(fields []Field) ([]Field, error) {
	var room [16]Field // more than most requests get
	merged := room[:0]
	for i, f := range fields {
		sameName := func(other Field) bool { return strings.EqualFold(other.Name, f.Name) }
		at := slices.IndexFunc(merged, sameName)
		if at < 0 {
			merged = append(merged, f)
			continue
		}
		if slices.ContainsFunc(fields[:i], func(o Field) bool { return sameName(o) && o.Value == f.Value }) {
			continue
		}
		if f.Separator == "" || f.Separator != merged[at].Separator {
			return nil, fmt.Errorf("%w: %s can hold one value only; choose schemes that do not share it", ErrFieldConflict, f.Name)
		}
		merged[at].Value += f.Separator + f.Value
	}
	return fields[:copy(fields, merged)], nil
}
