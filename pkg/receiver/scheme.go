package receiver

import (
	"errors"
	"fmt"
	"slices"

	"github.com/handfast/handfast/pkg/signature"
)

// strength is what a scheme signs beside the body, by which a replay can be told.
type strength struct {
	id, time bool
}

func (s strength) String() string {
	switch {
	case s.id && s.time:
		return "id, time and body"
	case s.id:
		return "id and body"
	case s.time:
		return "time and body"
	}
	return "the body alone"
}

func strengthOf(scheme string, template signature.Template) strength {
	if scheme == signature.TemplateScheme {
		return strength{id: template.SignsID(), time: template.SignsTime()}
	}
	return strength{id: signature.SignsID(scheme), time: signature.SignsTime(scheme)}
}

// met reports whether the verified request has all that its scheme is believed to sign.
func (s strength) met(v signature.Verified) bool {
	return s.id == (v.ID != "") && s.time == !v.Time.IsZero()
}

// checkKeys returns the schemes of the keys, each once, in their order.
func checkKeys(keys []signature.Verifier, template signature.Template) ([]string, error) {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(keys) == 0 {
		add("Keys is empty, so no signature could ever match; give a verifier for each key of the sender")
	}
	var schemes []string
	for i, key := range keys {
		switch {
		case !key.Valid():
			add("Keys[%d] was not made from a key; use signature.Key.Verifier or signature.ParsePublic", i)
		case !slices.Contains(schemes, key.Scheme()):
			schemes = append(schemes, key.Scheme())
		}
	}
	switch templated := slices.Contains(schemes, signature.TemplateScheme); {
	case templated:
		if err := template.Validate(); err != nil {
			add("Template: %w", err)
		}
	case template != signature.Template{}:
		add("Template is set, but no key of scheme %s is in Keys", signature.TemplateScheme)
	}
	for _, scheme := range schemes {
		one, other := strengthOf(schemes[0], template), strengthOf(scheme, template)
		if one != other {
			add("Keys has scheme %s, which signs %s, and scheme %s, which signs %s: a replay stripped of one signature could pass for new under the other; make a receiver for each",
				schemes[0], one, scheme, other)
		}
	}
	return schemes, errors.Join(problems...)
}
