package schema

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// MaxProblems bounds what is told about one document, or one event's data: it is stored and printed.
const MaxProblems = 50

// Problem is one thing that is wrong.
type Problem struct {
	// Path is where: "schema" or "data", and behind it a JSON Pointer (RFC 6901), such as data/items/0/price.
	Path string
	// Message is what, and what to do about it.
	Message string
}

// String returns "path: message".
func (p Problem) String() string { return p.Path + ": " + p.Message }

// InvalidError says why a document cannot be a schema: every problem, ordered by path.
type InvalidError struct {
	Problems []Problem
}

// Error lists every problem, one on a line when there are several.
func (e *InvalidError) Error() string { return list("the schema is not valid", e.Problems) }

// ViolationError says why an event is not as its schema wants it. Its messages may quote data.
type ViolationError struct {
	// Version is what the event was checked against; nil when there was none to check against.
	Version *Version
	// Problems is everything that is wrong, ordered by path; never empty.
	Problems []Problem
}

// Error lists every problem.
func (e *ViolationError) Error() string {
	return list(Broke+e.against(), e.Problems)
}

// Broke begins the first reason of every event that broke a schema.
const Broke = "the event breaks "

// Reasons are the problems as texts, the first of which says what was broken.
func (e *ViolationError) Reasons() []string {
	reasons := append(make([]string, 0, 1+len(e.Problems)), Broke+e.against())
	for _, p := range e.Problems {
		reasons = append(reasons, p.String())
	}
	return reasons
}

func (e *ViolationError) against() string {
	if e.Version == nil {
		return "the rules of its schemas"
	}
	return "version " + strconv.Itoa(e.Version.Number) + " of the schema of " + e.Version.Type
}

func list(what string, problems []Problem) string {
	if len(problems) == 1 {
		return what + ": " + problems[0].String()
	}
	var text strings.Builder
	text.WriteString(what + ": " + strconv.Itoa(len(problems)) + " problems")
	for _, p := range problems {
		text.WriteString("\n  " + p.String())
	}
	return text.String()
}

// order sorts, drops repetitions, and cuts a list to what is told.
func order(problems []Problem) []Problem {
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	problems = slices.Compact(problems)
	if more := len(problems) - MaxProblems; more > 0 {
		root, _, _ := strings.Cut(problems[0].Path, "/")
		problems = append(slices.Clip(problems[:MaxProblems]), Problem{root, "has " + strconv.Itoa(more) + " more problems"})
	}
	return problems
}

// pointer writes a path as a JSON Pointer behind its root. A long one is cut: it comes from an event.
func pointer(root string, path []string) string {
	const enough = 200
	var out strings.Builder
	out.WriteString(root)
	for _, token := range path {
		if out.Len() > enough {
			out.WriteString("/…")
			break
		}
		out.WriteByte('/')
		out.WriteString(short(strings.NewReplacer("~", "~0", "/", "~1").Replace(token), enough))
	}
	return out.String()
}

// short cuts a text to so many characters, and makes it safe for a terminal and a log.
func short(text string, most int) string {
	runes := []rune(text[:min(len(text), 4*most)])
	cut := len(runes) > most || len(text) > 4*most
	runes = runes[:min(len(runes), most)]
	for i, r := range runes {
		if !strconv.IsPrint(r) {
			runes[i] = '·'
		}
	}
	if cut {
		return string(runes) + "…"
	}
	return string(runes)
}
