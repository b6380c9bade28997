package doctor

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is the report for people, in lines of at most width characters: the steps, numbered, then what to do for each,
// then the verdict. It is safe for a terminal, whatever the receiver has sent.
func (r *Report) Text(width int) string {
	var out strings.Builder
	for i, step := range r.Steps {
		mark := "✓"
		if !step.OK {
			mark = "✗"
		}
		wrap(&out, fmt.Sprintf("%2d %s ", i+1, mark), strings.ReplaceAll(string(step.Step), "_", " ")+": "+step.Said, width)
	}
	title := "\nDo:\n"
	for i, step := range r.Steps {
		if step.Do == "" {
			continue
		}
		out.WriteString(title)
		title = ""
		lead := fmt.Sprintf("%2d   ", i+1)
		for line := range strings.SplitSeq(step.Do, "\n") {
			wrap(&out, lead, line, width)
			lead = strings.Repeat(" ", len(lead))
		}
	}
	switch {
	case r.Healthy:
		out.WriteString("\nHealthy.\n")
	case r.Outcome == Delivered:
		out.WriteString("\nNot healthy, although a delivery would get through.\n")
	default:
		fmt.Fprintf(&out, "\nNot healthy: a delivery would end as %s.\n", r.Outcome)
	}
	return out.String()
}

// wrap writes text in lines of at most width characters after a lead, by which the other lines are indented. A word that
// is longer than a line stays whole: it may have to be copied.
func wrap(out *strings.Builder, lead, text string, width int) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(lead))
	out.WriteString(lead)
	at, first := len(indent), true
	for word := range strings.FieldsSeq(clean(text)) {
		size := utf8.RuneCountInString(word)
		switch {
		case first:
			first = false
		case at+1+size > width:
			out.WriteString("\n" + indent)
			at = len(indent)
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += size
	}
	out.WriteByte('\n')
}

// clean leaves nothing that moves the cursor, changes colours or the direction of writing.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
