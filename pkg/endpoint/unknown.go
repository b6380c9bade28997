package endpoint

import (
	"fmt"
	"strings"
)

// knownFields lists the fields of every mapping of the document, in the order of
// the manual. A test compares it with the schema.
func knownFields(section string) []string {
	switch section {
	case "":
		return []string{"tenant", "name", "url", "description", "filter", "signature", "tls", "retry", "limits", "activation", "schema", "paused", "ordered"}
	case "filter":
		return []string{"types", "cesql"}
	case "signature":
		return []string{"schemes", "algorithms", "retiring", "template"}
	case retiringPath:
		return strings.Split(schemeList, " ")
	case "signature.template":
		return []string{"header", "content", "algorithm", "encoding", "prefix", "separator", "id_header", "timestamp_header"}
	case "tls":
		return []string{"identity", "trust", "server_name", "mutual", "min_version"}
	case "tls.trust":
		return []string{"roots", "pins", "revocation"}
	case "retry":
		return []string{"schedule"}
	case "limits":
		return []string{"concurrency", "timeout"}
	case "schema":
		return []string{"pin"}
	case activationPath:
		return []string{"kind", "origin", "rate", "client_id"}
	default:
		return nil
	}
}

// sections lists the mappings of the document, the outermost first.
func sections() []string {
	return []string{"", "filter", "signature", "signature.retiring", "signature.template", "tls", "tls.trust", "retry", "limits", "activation", "schema"}
}

// unknown answers a field that is not in the schema: one that a later release
// brings, one that is misspelt or misplaced, or one that we do not know at all.
func unknown(section, name string) string {
	switch join(section, name) {
	case "limits.rate":
		return "is not available yet: a limit on the rate comes with a later release; remove it, and use limits.concurrency until then"
	case "activation.callback":
		return "is not available: a receiver that grants permission later, by a callback, is asked again by `handfast endpoint activate` when it has; remove it"
	case `["$schema"]`:
		return "is not a field of an endpoint: tell your editor in its own settings which schema this is; remove it"
	case "signature.policy":
		return "is not a field of an endpoint; signature.algorithms says which algorithms may sign"
	}
	if likely := likelyField(section, name); likely != "" {
		return fmt.Sprintf("is not a field of an endpoint; did you mean %s?", likely)
	}
	return "is not a field of an endpoint; " + choices(section)
}

func choices(section string) string {
	where := "here"
	if section != "" {
		where = "in " + section
	}
	names := knownFields(section)
	if len(names) == 1 {
		return fmt.Sprintf("the only field %s is %s", where, names[0])
	}
	return fmt.Sprintf("the fields %s are %s and %s", where, strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}

// likelyField returns the path of the field that was probably meant: the nearest
// spelling in the same mapping, else the same name in another one.
func likelyField(section, name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	best, likely := 3, ""
	for _, field := range knownFields(section) {
		if d := distance(name, field); d < best && d*2 < len(field) {
			best, likely = d, join(section, field)
		}
	}
	if likely != "" {
		return likely
	}
	for _, other := range sections() {
		for _, field := range knownFields(other) {
			if field == name {
				return join(other, field)
			}
		}
	}
	return ""
}

// distance is the number of single-character edits between two texts, where two
// neighbours that changed places count as one.
func distance(a, b string) int {
	if diff := len(a) - len(b); diff > 2 || diff < -2 {
		return max(diff, -diff) // at least this, and too far anyway
	}
	before, previous, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(previous[j]+1, row[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, previous, row = previous, row, before
	}
	return previous[len(b)]
}
