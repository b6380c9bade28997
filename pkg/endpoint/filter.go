package endpoint

import (
	"fmt"
	"strings"

	cesql "github.com/cloudevents/sdk-go/sql/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// Event is what a filter looks at. CloudEvent is asked for only when there is a
// CESQL expression and the type has matched.
type Event interface {
	Type() string
	CloudEvent() cloudevents.Event
}

// Filter says which events of the tenant an endpoint wants. What is absent
// matches everything; what is given must hold together.
type Filter struct {
	// Types are patterns over the event type. One that matches is enough.
	Types []string
	// CESQL is a CloudEvents SQL v1 expression, or empty.
	CESQL string

	patterns   []pattern
	expression cesql.Expression
}

// matchesType does not allocate.
func (f *Filter) matchesType(eventType string) bool {
	if len(f.patterns) == 0 {
		return true
	}
	for _, p := range f.patterns {
		if p.matches(eventType) {
			return true
		}
	}
	return false
}

// FilterError says that a CESQL expression could not be evaluated on an event,
// so that the endpoint did not get it.
type FilterError struct {
	Endpoint   Key
	Expression string
	Err        error
}

// Error names the endpoint, the expression and the reason.
func (e *FilterError) Error() string {
	return fmt.Sprintf("endpoint %s: the filter %q failed, so the event is not delivered to it: %s", e.Endpoint, e.Expression, e.Err)
}

// Unwrap returns the reason.
func (e *FilterError) Unwrap() error { return e.Err }

func (b builder) filter() Filter {
	given := section(b.root, "filter")
	out := Filter{Types: list(given, "types"), CESQL: text(given, "cesql")}
	for i, each := range out.Types {
		path := element("filter.types", i)
		if !b.found.clean(path) {
			continue
		}
		compiled, problem := parsePattern(each)
		if problem != "" {
			b.found.addf(path, "%s %s", quote(each), problem)
			continue
		}
		out.patterns = append(out.patterns, compiled)
	}
	b.distinct("filter.types", out.Types)
	const path = "filter.cesql"
	if out.CESQL != "" && b.found.clean(path) {
		expression, err := compile(out.CESQL)
		if err != nil {
			b.found.addf(path, "%s", err)
		}
		out.expression = expression
	}
	return out
}

// pattern is a type pattern that parsePattern accepted.
type pattern struct {
	text    string
	literal bool // no wildcard in it
}

// parsePattern checks a pattern; the problem reads on after the pattern.
func parsePattern(given string) (p pattern, problem string) {
	if strings.ContainsFunc(given, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return pattern{}, "contains a space or a character outside printable ASCII, which no event type has"
	}
	p = pattern{text: given, literal: !strings.Contains(given, "*")}
	tokens := strings.Split(given, ".")
	for i, token := range tokens {
		switch {
		case token == "":
			return pattern{}, "has an empty token: remove the dot at an end, or one of two dots that follow each other"
		case token == "**" && i < len(tokens)-1:
			return pattern{}, "has ** before its end: ** stands only at the end; use * for each single token"
		case token == "*" || token == "**":
		case strings.Contains(token, "*"):
			return pattern{}, fmt.Sprintf("has a * inside the token %s: * stands for one whole token, so write out the token or use * alone", quote(token))
		case token == ">":
			return pattern{}, "uses > as in a NATS subject: write ** at the end for one or more tokens"
		case strings.Contains(token, ">"):
			return pattern{}, "contains >, which no event type has"
		}
	}
	return p, ""
}

// matches compares token by token, without allocating.
func (p pattern) matches(eventType string) bool {
	if p.literal {
		return p.text == eventType
	}
	patternRest, typeRest := p.text, eventType
	for {
		want, wantRest, wantMore := strings.Cut(patternRest, ".")
		if want == "**" {
			return typeRest != ""
		}
		got, gotRest, gotMore := strings.Cut(typeRest, ".")
		if want == "*" && got == "" || want != "*" && want != got {
			return false
		}
		if !wantMore || !gotMore {
			return wantMore == gotMore
		}
		patternRest, typeRest = wantRest, gotRest
	}
}
