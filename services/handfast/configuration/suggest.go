package configuration

import "strings"

// suggest ends a sentence about an unknown key with the name that was probably meant.
func suggest(key string, names []string) string {
	wanted := strings.ToLower(strings.ReplaceAll(key, "_", "-"))
	best, distance := "", 1+max(2, len(key)/3)
	for _, name := range names {
		d := edits(wanted, name)
		if wanted != "" && (strings.HasPrefix(name, wanted+"-") || strings.HasSuffix(name, "-"+wanted)) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return "; handfast COMMAND --help lists them"
	}
	return "; did you mean \"" + best + "\"?"
}

// edits counts the insertions, deletions and replacements of bytes that make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
