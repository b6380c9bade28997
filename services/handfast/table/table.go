package table

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// DefaultWidth is used when the terminal does not tell its own, in characters.
	DefaultWidth = 100
	gap          = 2
	narrowest    = 6
)

// Width is the number of characters of a line, as the environment variable COLUMNS or the terminal has it; [DefaultWidth]
// when that is empty or no number from 20 up.
func Width(columns string) int {
	if n, err := strconv.Atoi(columns); err == nil && n >= 20 {
		return n
	}
	return DefaultWidth
}

// Column is one column.
type Column struct {
	Name string
	// Whole keeps the cells from being cut; Give has them cut before those of other columns.
	Whole, Give bool
}

// Table collects rows. Make it with [New].
type Table struct {
	width   int
	columns []Column
	rows    [][]string
}

// New makes an empty table for lines of width characters.
func New(width int, columns ...Column) *Table {
	return &Table{width: width, columns: columns}
}

// Row adds a row. Missing cells are empty, and what is beyond the last column is left out.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.columns))
	for i := range row {
		if i < len(cells) {
			row[i] = Clean(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

// Write writes the header and the rows.
func (t *Table) Write(w io.Writer) error {
	widths := t.widths()
	header := make([]string, len(t.columns))
	for i, c := range t.columns {
		header[i] = c.Name
	}
	for _, row := range append([][]string{header}, t.rows...) {
		if _, err := io.WriteString(w, line(row, widths)+"\n"); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	return nil
}

func line(row []string, widths []int) string {
	var out strings.Builder
	for i, cell := range row {
		cell = cut(cell, widths[i])
		out.WriteString(cell)
		if i < len(row)-1 {
			out.WriteString(strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(cell), 0)+gap))
		}
	}
	return strings.TrimRight(out.String(), " ")
}

// widths gives each column what it wants, and then takes from the widest that may be cut until the line fits.
func (t *Table) widths() []int {
	widths, total := make([]int, len(t.columns)), gap*(len(t.columns)-1)
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.Name)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i]
	}
	for total > t.width {
		i := t.widest(widths)
		if i < 0 {
			break
		}
		widths[i]--
		total--
	}
	return widths
}

// widest is the column to take a character from: of those that give, or else of all that may be cut. It is -1 when none
// can spare one.
func (t *Table) widest(widths []int) int {
	for _, give := range []bool{true, false} {
		found := -1
		for i, c := range t.columns {
			spare := !c.Whole && widths[i] > max(narrowest, utf8.RuneCountInString(c.Name))
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

func cut(cell string, width int) string {
	if utf8.RuneCountInString(cell) <= width {
		return cell
	}
	return string([]rune(cell)[:width-1]) + "…"
}

// Clean makes text from outside safe for a terminal: one line, valid UTF-8, and no character that moves the cursor,
// changes colours or the direction of writing.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}
