package schema

import (
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/event"
)

// AsPublished is what a person's replay writes in place of a dataschema that was decided, for an event that is to go out as
// it is because no schema is in force for it any more.
const AsPublished = "as-published"

// Verdict is what became of checking an event that passed. The zero Verdict is that of an event without a schema.
type Verdict struct {
	// Version is what it was checked against; nil when there is no schema in force for it.
	Version *Version
	// DataSchema is what the attribute is to say on delivery; empty for leaving the event as it is.
	DataSchema string

	set     *Set
	foreign bool
	tree    any
}

// Judge checks an event against the version that its dataschema names, if it names one of ours, else against the newest
// that was in force when the broker stored it. A dataschema of somebody else stays as it is.
//
// The error is a *[ViolationError] when the event breaks the schema, and an *[UnusableError] when the schema cannot be
// used, so that nothing can be said about the event.
func (r *Registry) Judge(e event.Event, at time.Time) (Verdict, error) {
	set := r.Set(Kind{Tenant: e.Tenant(), Type: e.Type()})
	if set == nil {
		return Verdict{}, nil
	}
	newest := set.Newest(at)
	if newest == nil {
		return Verdict{}, nil
	}
	verdict := Verdict{Version: newest, set: set}
	if named := e.DataSchema(); named != "" {
		if verdict.foreign = !set.claims(named); !verdict.foreign {
			if verdict.Version = set.byURI(named); verdict.Version == nil || !verdict.Version.InForce(at) {
				return Verdict{}, &ViolationError{Problems: []Problem{{"ce-dataschema", set.unknown(named, verdict.Version, at)}}}
			}
		}
	}
	text, isJSON := e.JSON()
	if !isJSON {
		return Verdict{}, &ViolationError{Version: verdict.Version, Problems: []Problem{{
			"data", "is not JSON, and only JSON can be checked against a schema: publish it with datacontenttype application/json, or under a type without a schema",
		}}}
	}
	if verdict.Version.problem != nil {
		return Verdict{}, &UnusableError{Name: verdict.Version.Name, Err: verdict.Version.problem}
	}
	tree, problems := verdict.Version.schema.tree(text)
	verdict.tree = tree
	if len(problems) == 0 {
		problems = verdict.Version.schema.checkTree(tree)
	}
	if len(problems) > 0 {
		return Verdict{}, &ViolationError{Version: verdict.Version, Problems: problems}
	}
	verdict.DataSchema = verdict.Version.URI
	if verdict.foreign {
		verdict.DataSchema = e.DataSchema()
	}
	return verdict, nil
}

// unknown says why a dataschema that looks like ours names nothing to check against.
func (s *Set) unknown(named string, v *Version, at time.Time) string {
	switch {
	case v == nil:
		return fmt.Sprintf("is %s, which names no version of the schema of %s; leave it out for the newest, or apply that version first", quote(named), s.Kind.Type)
	case at.Before(v.Applied.Add(Delay)):
		return fmt.Sprintf("names version %d, which was applied only at the moment when the event was published", v.Number)
	}
	return fmt.Sprintf("names version %d, which has been deleted; leave it out for the newest", v.Number)
}

// Pin checks an event that has passed against the version that an endpoint is pinned to, and returns what dataschema is to
// say there. A deleted version can be pinned still. The errors are those of [Registry.Judge]; a version that is not there
// is an *[UnusableError].
func (v Verdict) Pin(number int) (dataschema string, err error) {
	if v.Version == nil || v.Version.Number == number {
		return v.DataSchema, nil
	}
	pinned := v.set.Version(number)
	switch {
	case pinned == nil:
		return "", &UnusableError{Name: Name{Kind: v.set.Kind, Number: number}, Err: errUnknown}
	case pinned.problem != nil:
		return "", &UnusableError{Name: pinned.Name, Err: pinned.problem}
	}
	if problems := pinned.schema.checkTree(v.tree); len(problems) > 0 {
		return "", &ViolationError{Version: pinned, Problems: problems}
	}
	if v.foreign {
		return v.DataSchema, nil
	}
	return pinned.URI, nil
}

// Knows reports whether a dataschema is the URI of a version of the kind, deleted or not.
func (r *Registry) Knows(kind Kind, uri string) bool { return r.Set(kind).byURI(uri) != nil }
