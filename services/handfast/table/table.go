package table

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// DefaultWidth is used when the terminal does not tell its own, in characters.
	DefaultWidth = 100
	// Unlimited is the width of what is no terminal: programs read whole cells, and one line a row.
	Unlimited = math.MaxInt
	gap       = 2
	indent    = 2
	narrowest = 6
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
	// Least is how many characters of a cell say something; it is not cut to fewer. Names and 6 are a minimum of their own.
	Least int
	// Short gives a shorter form of a cell, for lines that are too narrow for the whole one; nil when there is none.
	Short func(cell string) string
	// Spare columns are left out where a row would need several lines with them, or where even those are too narrow.
	Spare bool
	// Line is where the column goes, from 0 on, when a row needs several lines.
	Line int
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
	header := make([]string, len(t.columns))
	for i, c := range t.columns {
		header[i] = c.Name
	}
	l := t.layout()
	for _, row := range append([][]string{header}, l.rows...) {
		if _, err := io.WriteString(w, l.text(row)); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	return nil
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
