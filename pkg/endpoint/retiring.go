package endpoint

import (
	"maps"
	"slices"
	"time"
)

const retiringPath = "signature.retiring"

// MaxRetiring is how long a scheme that was removed may go on signing.
const MaxRetiring = 90 * 24 * time.Hour

// Retiring is a scheme that was removed from a document's list and signs beside
// the others for a while, so that a receiver which still verifies by it has the
// time to change.
type Retiring struct {
	Scheme string
	// Until is the last instant at which it signs.
	Until time.Time
}

// Signing returns the schemes that sign at an instant: those of the list, and
// then those that retire. Nobody may write to what it returns.
func (s Signature) Signing(at time.Time) []string {
	over := func(r Retiring) bool { return at.After(r.Until) }
	if !slices.ContainsFunc(s.Retiring, func(r Retiring) bool { return !over(r) }) {
		return s.Schemes
	}
	all := slices.Clone(s.Schemes)
	for _, r := range s.Retiring {
		if !over(r) {
			all = append(all, r.Scheme)
		}
	}
	return all
}

// named are all schemes that the document names.
func (s Signature) named() []string {
	all := slices.Clone(s.Schemes)
	for _, r := range s.Retiring {
		all = append(all, r.Scheme)
	}
	return all
}

// retiring reads the schemes that were removed.
func (b builder) retiring(schemes []string) []Retiring {
	given := section(section(b.root, "signature"), "retiring")
	var all []Retiring
	for _, scheme := range slices.Sorted(maps.Keys(given)) {
		path := join(retiringPath, scheme)
		text, ok := given[scheme].(string)
		if !ok || !b.found.clean(path) {
			continue // reported already
		}
		until, err := time.Parse(time.RFC3339, text)
		switch {
		case err != nil:
			b.found.addf(path, "%s is not an instant: %s", quote(text), rule(path))
		case slices.Contains(schemes, scheme):
			b.found.addf(path, "stands in signature.schemes as well, where it signs without an end: remove it from one of them")
		case !b.now.IsZero() && until.After(b.now.Add(MaxRetiring)):
			b.found.addf(path, "%s is more than %s ahead: name an earlier instant, or leave the scheme in signature.schemes", quote(text), short(MaxRetiring))
		default:
			all = append(all, Retiring{Scheme: scheme, Until: until})
		}
	}
	return all
}
