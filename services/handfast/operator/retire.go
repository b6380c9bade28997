package operator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
)

// DefaultOverlap is for how long a scheme that a document does not list any more still signs.
const DefaultOverlap = 24 * time.Hour

// Application says how documents are applied.
type Application struct {
	// Dry changes nothing and only says what would change.
	Dry bool
	// Overlap is for how long schemes that are removed still sign; 0 stands for [DefaultOverlap], and
	// [endpoint.MaxRetiring] is the most.
	Overlap time.Duration
	// Now lets schemes that are removed, or retire already, stop at once.
	Now bool
}

// succession is a new document with what it takes over from the one before.
type succession struct {
	*endpoint.Endpoint

	// retired have begun to retire by it; ended stop at once because that was asked for, refused because of its policy.
	retired, ended, refused []string
}

// succeed lets a document follow on the one that is held: schemes that it does not list any more go on for the overlap,
// and those that retire already do so until their end. What has ended is left out, unless nothing else has changed: an
// unchanged document is not stored again.
func (how Application) succeed(held, e *endpoint.Endpoint, now time.Time) (succession, []Field, error) {
	next, err := how.take(held, e, now, false)
	if err != nil {
		return succession{}, nil, err
	}
	fields, err := compare(held, next.Endpoint)
	if err != nil || len(fields) == 0 {
		return next, fields, err
	}
	if next, err = how.take(held, e, now, true); err != nil {
		return succession{}, nil, err
	}
	fields, err = compare(held, next.Endpoint)
	return next, fields, err
}

// take makes the document; forget leaves out what has ended.
func (how Application) take(held, e *endpoint.Endpoint, now time.Time, forget bool) (succession, error) {
	next := succession{Endpoint: e}
	until := map[string]time.Time{}
	if !how.Now {
		for _, r := range e.Signature.Retiring {
			until[r.Scheme] = r.Until
		}
	}
	// The policy is the new document's, and so is the template unless it has none.
	policy := e.Signature
	if !slices.Contains(policy.Schemes, signature.TemplateScheme) && policy.Template == (endpoint.Template{}) {
		policy.Template = held.Signature.Template
	}
	for _, r := range before(held.Signature, now.Add(cmp.Or(how.Overlap, DefaultOverlap)).UTC().Truncate(time.Second)) {
		removed := slices.Contains(held.Signature.Schemes, r.Scheme)
		_, given := until[r.Scheme]
		switch {
		case slices.Contains(e.Signature.Schemes, r.Scheme) || given:
		case !held.Signature.Allows(r.Scheme) || now.After(r.Until) && (how.Now || forget):
			// it does not sign
		case how.Now:
			next.ended = append(next.ended, r.Scheme)
		case !policy.Allows(r.Scheme):
			next.refused = append(next.refused, r.Scheme)
		default:
			until[r.Scheme] = r.Until
			if removed {
				next.retired = append(next.retired, r.Scheme)
			}
		}
	}
	var err error
	next.Endpoint, err = with(e, until, held)
	return next, err
}

// before are the schemes of the document that is held, those in its list with the end that they get when it is removed.
func before(held endpoint.Signature, end time.Time) []endpoint.Retiring {
	all := make([]endpoint.Retiring, 0, len(held.Schemes)+len(held.Retiring))
	for _, scheme := range held.Schemes {
		all = append(all, endpoint.Retiring{Scheme: scheme, Until: end})
	}
	return append(all, held.Retiring...)
}

// with is the document with other schemes that retire, and with the template that one of them may need.
func with(e *endpoint.Endpoint, until map[string]time.Time, held *endpoint.Endpoint) (*endpoint.Endpoint, error) {
	if len(until) == 0 && len(e.Signature.Retiring) == 0 {
		return e, nil
	}
	tree, err := fieldsOf(e)
	if err != nil {
		return nil, err
	}
	signed := child(tree, "signature")
	delete(signed, "retiring")
	if len(until) > 0 {
		ends := map[string]any{}
		for scheme, end := range until {
			ends[scheme] = end.UTC().Format(time.RFC3339Nano)
		}
		signed["retiring"] = ends
	}
	_, retires := until[signature.TemplateScheme]
	switch {
	case retires && signed["template"] == nil:
		old, err := fieldsOf(held)
		if err != nil {
			return nil, err
		}
		signed["template"] = child(old, "signature")["template"]
	case !retires && !slices.Contains(e.Signature.Schemes, signature.TemplateScheme):
		delete(signed, "template")
	}
	tree["signature"] = signed
	document, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	made, err := endpoint.Parse(document)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s with the schemes that retire: %w", e.Key(), err)
	}
	return made, nil
}

func fieldsOf(e *endpoint.Endpoint) (map[string]any, error) {
	document, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(document)))
	decoder.UseNumber()
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	return tree, nil
}

func child(tree map[string]any, name string) map[string]any {
	if fields, ok := tree[name].(map[string]any); ok {
		return fields
	}
	return map[string]any{}
}

// notes say what a change means for the signatures; held is nil for a new endpoint.
func (n succession) notes(held *endpoint.Endpoint) []string {
	var notes []string
	if held != nil {
		for _, scheme := range n.Signature.Schemes {
			if !slices.Contains(held.Signature.Schemes, scheme) && !slices.ContainsFunc(held.Signature.Retiring, func(r endpoint.Retiring) bool { return r.Scheme == scheme }) {
				notes = append(notes, "scheme "+scheme+" is new: `handfast key show "+n.Key().String()+"` prints what the receiver needs")
			}
		}
	}
	for _, r := range n.Signature.Retiring {
		if slices.Contains(n.retired, r.Scheme) {
			notes = append(notes, "scheme "+r.Scheme+" is removed and still signs beside the others, until "+r.Until.UTC().Format(time.RFC3339)+"; `handfast endpoint apply --now` ends it at once")
		}
	}
	const alone = ": a receiver that verifies only by it refuses requests from now on"
	for _, scheme := range n.ended {
		notes = append(notes, "scheme "+scheme+" stops at once"+alone)
	}
	for _, scheme := range n.refused {
		notes = append(notes, "scheme "+scheme+" stops at once, because signature.algorithms does not allow its algorithm"+alone)
	}
	return notes
}

// Warnings say what is known against the way in which an endpoint is signed, and which of its schemes do not sign because
// its policy does not allow them, so that its deliveries wait.
func Warnings(e *endpoint.Endpoint, now time.Time) []string {
	var warnings []string
	for _, scheme := range e.Signature.Signing(now) {
		if weak := signature.Weak(scheme); weak != "" {
			warnings = append(warnings, weak)
		}
	}
	for _, refused := range e.Signature.Refused() {
		warnings = append(warnings, "nothing is signed, and deliveries wait: "+refused)
	}
	return warnings
}
