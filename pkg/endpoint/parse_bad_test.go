package endpoint

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const base = "tenant: acme\nname: orders\nurl: https://hooks.example.com/in\n"

const pinA, pinB = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256/n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="

// withURL is the base document with another URL.
func withURL(url string) string { return "tenant: acme\nname: orders\nurl: " + url + "\n" }

type badDocument struct {
	name, document string
	problems       []string // "path: message", in order
}

func (bad badDocument) check(t *testing.T) {
	t.Helper()
	endpoint, err := Parse([]byte(bad.document))
	require.Nil(t, endpoint)
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	told := make([]string, 0, len(invalid.Problems))
	for _, problem := range invalid.Problems {
		told = append(told, problem.String())
	}
	assert.Equal(t, bad.problems, told)
	_, again := Parse([]byte(bad.document))
	assert.Equal(t, err, again, "the same document gives the same error")
}

func TestBadText(t *testing.T) {
	for _, bad := range []badDocument{
		{"empty", " \n", []string{"document: is empty: write at least tenant, name and url"}},
		{"only comments", "# nothing\n", []string{"document: is not valid YAML: there is nothing but comments in it"}},
		{"not UTF-8", "tenant: \xff", []string{"document: is not UTF-8 text: save the file as UTF-8"}},
		{"too large", strings.Repeat("x", 65537), []string{"document: is 65537 bytes long; at most 65536 (64 KiB) are accepted"}},
		{"a list", "- a", []string{"document: must be a mapping with tenant, name and url, not a list"}},
		{"JSON syntax", "{\n \"tenant\": \"acme\",}", []string{"document: is not valid JSON at line 2, column 19: invalid character '}' looking for beginning of object key string"}},
		{"two JSON values", `{} {}`, []string{"document: is not valid JSON at line 1, column 4: invalid character '{' after top-level value"}},
		{"deep", `{"a":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`, []string{"document: is not valid JSON: nested more than 16 levels deep"}},
		{"YAML syntax", "tenant: [", []string{"document: is not valid YAML: line 1: did not find expected node content"}},
		{"two YAML documents", base + "---\n" + base, []string{"document: is not valid YAML: a second document begins at line 4; give one endpoint at a time"}},
		{"merge key", base + "<<: {paused: false}\n", []string{"document: is not valid YAML: line 4 merges another mapping with <<, which is not accepted: write the fields out"}},
		{"odd key", base + "? [a]\n: b\n", []string{"document: is not valid YAML: the name of a field at line 4 is not plain text"}},
		{"unquoted star", base + "filter: {types: [*.created]}\n", []string{"document: is not valid YAML: line 4: did not find expected alphabetic or numeric character (text that begins with * must stand in quotes)"}},
		{"alias", base + "filter: &f {}\nretry: *f\n", []string{"retry: is a YAML alias (*f), which is not accepted: write the value out, or put it in quotes if it is text"}},
		{"own tag", base + "limits: {timeout: !wait 5s, concurrency: .inf}\n", []string{
			`limits.concurrency: ".inf" is not a number that can be used`,
			`limits.timeout: carries the YAML tag "!wait", which is not accepted: write the value as plain text`,
		}},
		{"duplicate in YAML", base + "tenant: again\n", []string{"tenant: appears more than once: keep one of them"}},
		{"duplicate in JSON", `{"tenant":"acme","name":"orders","url":"https://h.example/","tls":{"identity":"a","identity":"b"}}`, []string{"tls.identity: appears more than once: keep one of them"}},
		{"nulls", base + "tls: ~\nfilter: {types: [null]}\ndescription:\n", []string{
			"description: is empty (null): give it a value or remove it",
			"filter.types[0]: is empty (null): give it a value or remove it",
			"tls: is empty (null): give it a value or remove it",
		}},
		{"number beyond reach", `{"tenant":"acme","name":"orders","url":"https://h.example/","limits":{"concurrency":1e999999999}}`, []string{`limits.concurrency: "1e999999999" is not a number that can be used`}},
	} {
		t.Run(bad.name, bad.check)
	}
}

func TestBadFields(t *testing.T) {
	for _, bad := range []badDocument{
		{"nothing given", "{}", []string{
			"name: is required: " + nameRule, "tenant: is required: " + nameRule,
			"url: is required: write the https address that receives the requests",
		}},
		{"bad names", "tenant: Acme\nname: -x\nurl: https://h.example/\ntls: {identity: ''}\n", []string{
			`name: "-x" is not allowed: ` + nameRule, `tenant: "Acme" is not allowed: ` + nameRule, `tls.identity: "" is not allowed: ` + nameRule,
		}},
		{"unknown fields", base + "fliter: {}\npause: true\ncolour: red\ntimeout: 5s\n$schema: x\nretry: {shedule: standard, x: 1}\nTLS: {}\n", []string{
			"TLS: is not a field of an endpoint; did you mean tls?",
			`["$schema"]: is not a field of an endpoint: tell your editor in its own settings which schema this is; remove it`,
			"colour: is not a field of an endpoint; the fields here are tenant, name, url, description, filter, signature, tls, retry, limits, activation, schema, paused and ordered",
			"fliter: is not a field of an endpoint; did you mean filter?",
			"pause: is not a field of an endpoint; did you mean paused?",
			"retry.shedule: is not a field of an endpoint; did you mean retry.schedule?",
			"retry.x: is not a field of an endpoint; the only field in retry is schedule",
			"timeout: is not a field of an endpoint; did you mean limits.timeout?",
		}},
		{"not yet", base + "ordered: true\nlimits: {rate: 5}\nsignature: {policy: any, schemes: [v1, rfc9421]}\n", []string{
			"limits.rate: is not available yet: a limit on the rate comes with a later release; remove it, and use limits.concurrency until then",
			"ordered: true is not available yet: ordered delivery comes with a later release; leave it false, and sort by the event's time or id at the receiver",
			"signature.policy: is not a field of an endpoint; signature.algorithms says which algorithms may sign",
			`signature.schemes[1]: "rfc9421" is three schemes; choose rfc9421-ed25519, rfc9421-ecdsa-p256-sha256 or rfc9421-hmac-sha256`,
		}},
		{"wrong kinds", base + "paused: yes\nordered: 1\ndescription: 5\nretry: 5\nlimits: {concurrency: '8', timeout: 15}\n", []string{
			"description: must be text, not a number: put it in quotes",
			"limits.concurrency: must be a whole number, not text: write the number without quotes",
			"limits.timeout: must be text, not a number: write a duration with its unit, from 1s to 60s",
			"ordered: must be true or false, not a number",
			"paused: must be true or false, not text: write it without quotes (yes, no, on and off are text)",
			"retry: must be a mapping, not a number",
		}},
		{"limits", base + "limits: {concurrency: 300, timeout: 2m}\n", []string{
			"limits.concurrency: 300 is out of range: use a whole number from 1 to 256",
			`limits.timeout: "2m" is out of range: write a duration with its unit, from 1s to 60s`,
		}},
		{"half a request", base + "limits: {concurrency: 1.5}\n", []string{"limits.concurrency: must be a whole number, not 1.5"}},
		{"long description", base + "description: " + strings.Repeat("é", 501), []string{"description: is 501 characters long; at most 500 are accepted"}},
	} {
		t.Run(bad.name, bad.check)
	}
}

func TestBadLists(t *testing.T) {
	for _, bad := range []badDocument{
		{"schemes", base + "signature: {schemes: [v1, v3, v1]}\n", []string{
			`signature.schemes[1]: "v3" is not a signature scheme; choose from ` + schemeNames,
			"signature.schemes[2]: repeats signature.schemes[0]: remove one of them",
		}},
		{"template missing", base + "signature: {schemes: [template]}\n", []string{
			"signature.template: is required, because signature.schemes lists template: write at least its header and its content",
		}},
		{"template not used", base + "signature: {template: {header: X-Acme, content: '{body}'}}\n", []string{
			"signature.template: is not used, because signature.schemes does not list template: add it there, or remove this",
		}},
		{"template, everything wrong", base + "signature: {schemes: [template], template: {header: host, content: '{id}{body}', algorithm: md5, encoding: hax, prefix: ' v1=', separator: ab, id_header: 'X Y', timestamp_header: webhook-ID, x: 1}}\n", []string{
			`signature.template.algorithm: "md5" is not a choice; choose hmac-sha256 or hmac-sha512`,
			"signature.template.content: needs a separator between two placeholders that starts and ends with something else than letters, digits, _ and -, such as a full stop or a colon",
			`signature.template.encoding: "hax" is not a choice; choose hex or base64`,
			`signature.template.header: "host" is a header field that has another meaning: ` + headerRule,
			`signature.template.id_header: "X Y" is not allowed: ` + headerRule,
			`signature.template.prefix: " v1=" is not allowed: use visible ASCII characters, such as sha256=, with no space in front`,
			`signature.template.separator: "ab" consists of characters that a signature can have: use a comma, a space or the like`,
			"signature.template.x: is not a field of an endpoint; the fields in signature.template are header, content, algorithm, encoding, prefix, separator, id_header and timestamp_header",
		}},
		{"template, one header twice", base + "signature: {schemes: [template], template: {header: webhook-ID, content: '{body}{'}}\n", []string{
			"signature.template.content: has a brace that belongs to none of {id}, {timestamp} and {body}: remove it",
			"signature.template.id_header: is the same header field as signature.template.header: give each its own",
		}},
		{"template, content and separator", base + "signature: {schemes: [template], template: {header: X-A, content: '{id}.{id}', prefix: 'v1,', separator: ','}}\n", []string{
			"signature.template.content: has {id} more than once: once is enough",
			`signature.template.separator: "," stands in the prefix as well, so that the list could not be taken apart: choose another`,
		}},
		{"template, no body", base + "signature: {schemes: [template], template: {header: X-A, content: '{timestamp}'}}\n", []string{
			"signature.template.content: has no {body}, so that the body would not be signed: write for example {id}.{timestamp}.{body}",
		}},
		{"empty lists", base + "filter: {types: [], cesql: ''}\nsignature: {schemes: []}\nretry: {schedule: []}\ntls: {trust: {roots: []}}\n", []string{
			"filter.cesql: is empty: write a CESQL expression, or remove it",
			"filter.types: is an empty list: remove it to receive every event of the tenant, or name at least one type",
			"retry.schedule: is an empty list: " + scheduleRule,
			"signature.schemes: is an empty list: name at least one scheme, or remove it for v1 and v1a",
			"tls.trust.roots: is an empty list: " + rootsRule,
		}},
		{"schedule", base + "retry: {schedule: [5, 500ms, 49h, soon]}\n", []string{
			"retry.schedule[0]: must be text, not a number: " + waitRule,
			`retry.schedule[1]: "500ms" is out of range: ` + waitRule,
			`retry.schedule[2]: "49h" is out of range: ` + waitRule,
			`retry.schedule[3]: "soon" is not allowed: ` + waitRule,
		}},
		{"schedule too long", base + "retry: {schedule: [48h, 48h, 48h, 1s]}\n", []string{"retry.schedule: the waits add up to 144h0m1s; at most 144h are accepted, because the event's payload is kept for 7 days and a retry needs it"}},
		{"schedule of hours", base + "retry: {schedule: [48h, 48h, 48h, 48h]}\n", []string{"retry.schedule: the waits add up to 192h; at most 144h are accepted, because the event's payload is kept for 7 days and a retry needs it"}},
		{"long value", "tenant: " + strings.Repeat("A", 64) + "\nname: orders\nurl: https://h.example/\n", []string{`tenant: "` + strings.Repeat("A", 60) + `…" is not allowed: ` + nameRule}},
		{"schedule with 31 waits", base + "retry: {schedule: [" + strings.Repeat("1s,", 31) + "]}\n", []string{"retry.schedule: has 31 entries; at most 30 are accepted"}},
		{"schedule word", base + "retry: {schedule: fast}\n", []string{`retry.schedule: "fast" is not allowed: ` + scheduleRule}},
		{"choices of tls", base + "tls: {revocation: soft, min_version: '1.1', trust: {revocation: on, min_version: '1.3'}}\n", []string{
			`tls.min_version: "1.1" is not a choice; choose "1.2" or "1.3", in quotes`,
			"tls.revocation: is not a field of an endpoint; did you mean tls.trust.revocation?",
			"tls.trust.min_version: is not a field of an endpoint; did you mean tls.min_version?",
			`tls.trust.revocation: "on" is not a choice; choose off, soft or hard`,
		}},
		{"a version is no number", base + "tls: {min_version: 1.3, trust: {revocation: true}}\n", []string{
			"tls.min_version: must be text, not a number: put it in quotes",
			"tls.trust.revocation: must be text, not true or false: put it in quotes",
		}},
		{"mutual off", base + "tls: {mutual: 'off'}\n", []string{`tls.mutual: "off" is not a choice; choose required or requested`}},
	} {
		t.Run(bad.name, bad.check)
	}
}

func TestOrderOfPathsIsByNumber(t *testing.T) {
	var found problems
	for _, path := range []string{"a[10]", "a[2]", "b", "", "a", "a.b"} {
		found.addf(path, "x")
	}
	err := found.err()
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	paths := make([]string, 0, len(invalid.Problems))
	for _, problem := range invalid.Problems {
		paths = append(paths, problem.Path)
	}
	assert.Equal(t, []string{"", "a", "a.b", "a[2]", "a[10]", "b"}, paths)
}
