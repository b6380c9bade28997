package table_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/services/handfast/table"
)

func write(tb testing.TB, tab *table.Table) string {
	tb.Helper()
	var out strings.Builder
	require.NoError(tb, tab.Write(&out))
	return out.String()
}

func TestColumnsAlignAndMissingCellsAreEmpty(t *testing.T) {
	tab := table.New(80, table.Column{Name: "NAME"}, table.Column{Name: "N"}, table.Column{Name: "WORDS"})
	tab.Row("größe", "1", "a b")
	tab.Row("x")
	tab.Row("y", "22", "c", "beyond")
	assert.Equal(t, "NAME   N   WORDS\ngröße  1   a b\nx\ny      22  c\n", write(t, tab))
}

func TestWidestColumnIsCutFirst(t *testing.T) {
	tab := table.New(40, table.Column{Name: "ID", Whole: true}, table.Column{Name: "SHORT"}, table.Column{Name: "LONG"})
	tab.Row("msg_0123456789", "short", strings.Repeat("ab cd ", 20))
	out := write(t, tab)
	assert.Equal(t, "ID              SHORT  LONG\nmsg_0123456789  short  ab cd ab cd ab c…\n", out)
	for line := range strings.Lines(out) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 40)
	}
}

func TestWhatGivesIsCutBeforeTheWidest(t *testing.T) {
	tab := table.New(30, table.Column{Name: "A", Give: true}, table.Column{Name: "B"})
	tab.Row("giving a lot", strings.Repeat("b", 20))
	assert.Equal(t, "A         B\ngiving …  "+strings.Repeat("b", 20)+"\n", write(t, tab))
	tab = table.New(20, table.Column{Name: "A", Give: true}, table.Column{Name: "B"})
	tab.Row("giving a lot", strings.Repeat("b", 20))
	assert.Equal(t, "A       B\ngivin…  "+strings.Repeat("b", 11)+"…\n", write(t, tab))
}

func TestWholeCellsAreNeverCut(t *testing.T) {
	tab := table.New(20, table.Column{Name: "ID", Whole: true}, table.Column{Name: "WORDS"})
	tab.Row(strings.Repeat("x", 30), "some words")
	assert.Contains(t, write(t, tab), strings.Repeat("x", 30)+"  some …\n")
}

func TestNothingMovesTheCursor(t *testing.T) {
	tab := table.New(80, table.Column{Name: "A"})
	tab.Row("a\x1b[31mred\x07\r\n\u202eb\xff\u009b")
	assert.Equal(t, "A\na[31mred b�\n", write(t, tab))
}

func TestWidth(t *testing.T) {
	for columns, want := range map[string]int{"": 100, "x": 100, "0": 100, "-5": 100, "19": 100, "20": 20, "212": 212} {
		assert.Equal(t, want, table.Width(columns), columns)
	}
}

func BenchmarkWrite(b *testing.B) {
	tab := table.New(100, table.Column{Name: "ID", Whole: true}, table.Column{Name: "WORDS"}, table.Column{Name: "STATE"})
	for range 50 {
		tab.Row("msg_abcdefghijklmnopqrstuvwxyz234567", strings.Repeat("words ", 15), "active")
	}
	b.ReportAllocs()
	for b.Loop() {
		var out strings.Builder
		_ = tab.Write(&out)
	}
}

// TestARowGivesWayInOrder walks the measures that the package's picture lists.
func TestARowGivesWayInOrder(t *testing.T) {
	for width, want := range map[int]string{
		table.Unlimited: "ID      AT          KIND   WHAT\nid0001  2026-11-24  order  it was refused\nid0002\n",
		38:              "ID      AT    KIND   WHAT\nid0001  2026  order  it was refused\nid0002\n",
		30:              "ID      AT    WHAT\nid0001  2026  it was refused\nid0002\n",
		26:              "ID      AT    KIND\n  WHAT\nid0001  2026  order\n  it was refused\nid0002\n",
		18:              "ID      AT\n  WHAT\nid0001  2026\n  it was refused\nid0002\n",
		15:              "ID      AT\n  WHAT\nid0001  2026\n  it was refus…\nid0002\n",
	} {
		tab := table.New(width, table.Column{Name: "ID", Whole: true}, table.Column{Name: "AT", Whole: true, Short: func(cell string) string { return cell[:min(len(cell), 4)] }},
			table.Column{Name: "KIND", Whole: true, Spare: true}, table.Column{Name: "WHAT", Least: 13, Line: 1})
		tab.Row("id0001", "2026-11-24", "order", "it was refused")
		tab.Row("id0002")
		assert.Equal(t, want, write(t, tab), "%d characters", width)
	}
}

func TestAShortFormIsCleaned(t *testing.T) {
	tab := table.New(3, table.Column{Name: "A", Whole: true, Short: func(string) string { return "\x1b!" }})
	tab.Row("long enough")
	assert.Equal(t, "A\n!\n", write(t, tab))
}
