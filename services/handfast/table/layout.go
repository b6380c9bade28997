package table

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// layout is one way to write the rows: which columns, in how many lines a row, and how wide.
type layout struct {
	// lines holds the indexes of the columns, a list for each line of a row.
	lines [][]int
	rows  [][]string
	// widths has a width for each column, those that are left out included.
	widths []int
	fits   bool
}

// layout is the first that fits, of: everything on one line; short forms; spare columns left out; several lines a row;
// several lines without the spare columns. The last is taken in any case.
func (t *Table) layout() layout {
	full := t.arrange(false, false, t.rows)
	if full.fits {
		return full
	}
	short := t.shortened()
	var last layout
	for _, way := range []struct{ folded, spare bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		if last = t.arrange(way.folded, way.spare, short); last.fits {
			break
		}
	}
	return last
}

// shortened is the rows with the short form of every cell that has one.
func (t *Table) shortened() [][]string {
	all := make([][]string, len(t.rows))
	for i, row := range t.rows {
		all[i] = slices.Clone(row)
		for j, c := range t.columns {
			if c.Short != nil {
				all[i][j] = Clean(c.Short(row[j]))
			}
		}
	}
	return all
}

// arrange puts the columns on lines and makes them fit as far as they give way.
func (t *Table) arrange(folded, withoutSpare bool, rows [][]string) layout {
	l := layout{rows: rows, widths: make([]int, len(t.columns)), fits: true}
	for i, c := range t.columns {
		l.widths[i] = utf8.RuneCountInString(c.Name)
		for _, row := range rows {
			l.widths[i] = max(l.widths[i], utf8.RuneCountInString(row[i]))
		}
		if c.Spare && withoutSpare {
			continue
		}
		line := 0
		if folded {
			line = c.Line
		}
		for len(l.lines) <= line {
			l.lines = append(l.lines, nil)
		}
		l.lines[line] = append(l.lines[line], i)
	}
	l.lines = slices.DeleteFunc(l.lines, func(line []int) bool { return len(line) == 0 })
	for n, line := range l.lines {
		room := t.width
		if n > 0 {
			room -= indent
		}
		l.fits = t.shrink(l.widths, line, room) && l.fits
	}
	return l
}

// shrink takes from the widest column of a line that may be cut until the line fits, and tells whether it does.
func (t *Table) shrink(widths, line []int, room int) bool {
	total := gap * (len(line) - 1)
	for _, i := range line {
		total += widths[i]
	}
	for ; total > room; total-- {
		i := t.widest(widths, line)
		if i < 0 {
			return false
		}
		widths[i]--
	}
	return true
}

// widest is the column to take a character from: of those that give, or else of all that may be cut. It is -1 when none
// can spare one.
func (t *Table) widest(widths, line []int) int {
	for _, give := range []bool{true, false} {
		found := -1
		for _, i := range line {
			c := t.columns[i]
			spare := !c.Whole && widths[i] > max(narrowest, c.Least, utf8.RuneCountInString(c.Name))
			if spare && c.Give == give && (found < 0 || widths[i] > widths[found]) {
				found = i
			}
		}
		if found >= 0 {
			return found
		}
	}
	return -1
}

// text is a row, a line for each line of the layout. Lines after the first are indented, and left out of rows where
// they would say nothing.
func (l layout) text(row []string) string {
	var out strings.Builder
	for n, line := range l.lines {
		var text strings.Builder
		for k, i := range line {
			cell := cut(row[i], l.widths[i])
			text.WriteString(cell)
			if k < len(line)-1 {
				text.WriteString(strings.Repeat(" ", max(l.widths[i]-utf8.RuneCountInString(cell), 0)+gap))
			}
		}
		said := strings.TrimRight(text.String(), " ")
		switch {
		case n == 0:
			out.WriteString(said + "\n")
		case said != "":
			out.WriteString(strings.Repeat(" ", indent) + said + "\n")
		}
	}
	return out.String()
}
