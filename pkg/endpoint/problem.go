package endpoint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Path leads to the field, such as "filter.types[0]"; it is empty for the
	// document as a whole.
	Path string
	// Message says in words what is wrong and what to do. It begins in lower
	// case, so that it reads on after the path.
	Message string
}

// String returns "path: message".
func (p Problem) String() string {
	return cmp.Or(p.Path, "document") + ": " + p.Message
}

// InvalidError holds everything that is wrong with a document, sorted by path.
// The same document always gives the same error.
type InvalidError struct {
	Problems []Problem
}

// Error lists every problem, one on a line when there are several.
func (e *InvalidError) Error() string {
	if len(e.Problems) == 1 {
		return "the endpoint document is not valid: " + e.Problems[0].String()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "the endpoint document has %d problems:", len(e.Problems))
	for _, problem := range e.Problems {
		text.WriteString("\n  " + problem.String())
	}
	return text.String()
}

// problems collects what the three passes find. A later pass stays silent about
// a path that an earlier one has reported, so that one cause is told once. The
// zero value is ready. Every operation takes constant time: a document of
// nothing but mistakes has tens of thousands of them.
type problems struct {
	list  []Problem
	told  map[string]bool // paths with a problem
	dirty map[string]bool // those and everything above them
}

// addf reports a problem.
func (p *problems) addf(path, format string, args ...any) {
	p.report(path, fmt.Sprintf(format, args...))
}

// first reports a problem unless the path has one already.
func (p *problems) first(path, message string) {
	if !p.told[path] {
		p.report(path, message)
	}
}

func (p *problems) report(path, message string) {
	if p.told == nil {
		p.told, p.dirty = map[string]bool{}, map[string]bool{}
	}
	p.list = append(p.list, Problem{Path: path, Message: message})
	p.told[path], p.dirty[path] = true, true
	for i := range len(path) {
		if path[i] == '.' || path[i] == '[' {
			p.dirty[path[:i]] = true
		}
	}
}

// clean reports whether neither the path nor anything below it has a problem.
func (p *problems) clean(path string) bool { return !p.dirty[path] }

// err returns nil or an *InvalidError with the problems in their final order.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(comparePaths(a.Path, b.Path), strings.Compare(a.Message, b.Message))
	})
	return &InvalidError{Problems: slices.Compact(p.list)}
}

// comparePaths orders like text, but numbers by their value: [2] before [10].
func comparePaths(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			if order := cmp.Or(cmp.Compare(x, y), strings.Compare(a[:x], b[:y])); order != 0 {
				return order
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts the digits at the start of a text.
func digits(text string) int {
	return len(text) - len(strings.TrimLeft(text, "0123456789"))
}

// join appends a field to a path; a name that could be misread is quoted.
func join(path, name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return path + "[" + quote(name) + "]"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// quote shows a value of the document, shortened when it is long.
func quote(value string) string {
	const most = 60
	if runes := []rune(value); len(runes) > most {
		return fmt.Sprintf("%q", string(runes[:most])+"…")
	}
	return fmt.Sprintf("%q", value)
}
