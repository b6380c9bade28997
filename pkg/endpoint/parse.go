package endpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

const (
	defaultIdentity    = "default"
	defaultConcurrency = 8
	defaultTimeout     = 15 * time.Second
	minTimeout         = time.Second
	maxTimeout         = time.Minute
	maxEntries         = 30
	minWait            = time.Second
	maxWait            = 48 * time.Hour
	maxWaits           = 144 * time.Hour
)

// Parse reads a document, JSON (it begins with a brace) or YAML, checks it
// against the JSON Schema and against what a schema cannot say, and returns the
// endpoint ready to match. Every error is an *InvalidError with all problems.
// The clock is looked at for two rules: a root must not have expired, and a
// scheme that retires must not go on for more than MaxRetiring.
func Parse(document []byte) (*Endpoint, error) { return parse(document, time.Now()) }

// Restore is Parse for a document that was accepted before and has been stored
// since. It accepts roots that have expired in the meantime, schemes that the
// document's own policy refuses (see Signature.Refused), and any end of one that
// retires, so that a restart never loses an endpoint; every other rule is that of
// Parse.
func Restore(document []byte) (*Endpoint, error) { return parse(document, time.Time{}) }

func parse(document []byte, now time.Time) (*Endpoint, error) {
	found := &problems{}
	tree, ok := decode(document, found)
	if !ok {
		return nil, found.err()
	}
	accepted := checkShape(tree, found)
	root, _ := tree.(map[string]any)
	b := builder{root: root, now: now, found: found}
	e := b.endpoint()
	if !accepted && len(found.list) == 0 {
		// The two passes disagree. That is our defect; the document stays refused.
		found.addf("", "is not as the schema of endpoints says")
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	canonical, err := canonicalJSON(root)
	if err != nil {
		found.addf("", "cannot be written as JSON: %s", err)
		return nil, found.err()
	}
	e.document, e.mark = canonical, activationMark(e)
	return e, nil
}

// canonicalJSON writes sorted keys, no white space, and <, > and & as they are:
// people read CESQL in it.
func canonicalJSON(root map[string]any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

// builder turns the tree into an Endpoint. It looks only at fields that the
// passes before it found nothing wrong with, and reports what they cannot see.
type builder struct {
	root  map[string]any
	now   time.Time // zero: what was accepted before stays
	found *problems
}

func (b builder) endpoint() *Endpoint {
	e := &Endpoint{
		Tenant:      text(b.root, "tenant"),
		Name:        text(b.root, "name"),
		Description: text(b.root, "description"),
		Filter:      b.filter(),
		Signature:   b.signature(),
		Retry:       Retry{Schedule: b.schedule()},
		Limits:      b.limits(),
		Paused:      b.root["paused"] == true,
	}
	address := b.address()
	e.URL, e.authority = address.url, address.authority
	e.TLS = b.tls(address.host)
	e.Activation = b.activation()
	e.Schema = b.schema(e.Filter)
	return e
}

func (b builder) signature() Signature {
	schemes := list(section(b.root, "signature"), "schemes")
	b.distinct("signature.schemes", schemes)
	if schemes == nil {
		schemes = []string{"v1", "v1a"}
	}
	out := Signature{Schemes: schemes, Retiring: b.retiring(schemes)}
	out.Template = b.template(out.named())
	out.Algorithms = b.algorithms(out)
	return out
}

func (b builder) tls(host string) TLS {
	given := section(b.root, "tls")
	out := TLS{Identity: defaultIdentity, Trust: b.trust(), ServerName: host}
	if identity := text(given, "identity"); identity != "" {
		out.Identity = identity
	}
	if text(given, "mutual") == Requested.String() {
		out.Mutual = Requested
	}
	if text(given, "min_version") == TLS13.String() {
		out.MinVersion = TLS13
	}
	const path = "tls.server_name"
	if name := text(given, "server_name"); name != "" && b.found.clean(path) {
		normal, problem := normalHost(name)
		if problem != "" {
			b.found.addf(path, "%s %s", quote(name), problem)
		}
		out.ServerName = normal
	}
	return out
}

func (b builder) limits() Limits {
	given := section(b.root, "limits")
	out := Limits{Concurrency: defaultConcurrency, Timeout: defaultTimeout}
	if concurrency, ok := given["concurrency"].(int64); ok {
		out.Concurrency = int(concurrency)
	}
	if timeout, ok := given["timeout"].(string); ok {
		out.Timeout = b.duration("limits.timeout", "limits.timeout", timeout, minTimeout, maxTimeout)
	}
	return out
}

func (b builder) schedule() []time.Duration {
	const path = "retry.schedule"
	entries, ok := section(b.root, "retry")["schedule"].([]any)
	if !ok || len(entries) > maxEntries {
		return StandardSchedule() // absent, "standard", or already reported
	}
	waits := make([]time.Duration, 0, len(entries))
	var sum time.Duration // at most maxEntries × maxWait: it cannot overflow
	for i, entry := range entries {
		given, _ := entry.(string)
		wait := b.duration(element(path, i), path+"[]", given, minWait, maxWait)
		waits = append(waits, wait)
		sum += wait
	}
	if sum > maxWaits && b.found.clean(path) {
		b.found.addf(path, "the waits add up to %s; at most 144h are accepted, because the event's payload is kept for 7 days and a retry needs it", short(sum))
	}
	return waits
}

// duration reads a text whose form the schema has checked; out of range it
// reports and returns zero.
func (b builder) duration(path, field, given string, least, most time.Duration) time.Duration {
	if !b.found.clean(path) {
		return 0
	}
	value, err := time.ParseDuration(given)
	if err != nil || value < least || value > most {
		b.found.addf(path, "%s is out of range: %s", quote(given), rule(field))
		return 0
	}
	return value
}

// distinct reports every item that repeats an earlier one.
func (b builder) distinct(path string, items []string) {
	seen := make(map[string]int, len(items))
	for i, item := range items {
		if first, twice := seen[item]; twice {
			b.found.first(element(path, i), fmt.Sprintf("repeats %s: remove one of them", element(path, first)))
			continue
		}
		seen[item] = i
	}
}

// short writes a duration as people do: 48h, not 48h0m0s.
func short(d time.Duration) string {
	out := d.String()
	if d%time.Minute == 0 {
		out = out[:len(out)-len("0s")]
		if d%time.Hour == 0 {
			out = out[:len(out)-len("0m")]
		}
	}
	return out
}

func section(parent map[string]any, name string) map[string]any {
	child, _ := parent[name].(map[string]any)
	return child
}

func text(parent map[string]any, name string) string {
	value, _ := parent[name].(string)
	return value
}

// list returns the texts of a list, with "" for an item that is none, so that
// indexes stay true; nil when there is no list.
func list(parent map[string]any, name string) []string {
	items, ok := parent[name].([]any)
	if !ok {
		return nil
	}
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i], _ = item.(string)
	}
	return texts
}
