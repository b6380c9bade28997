package endpoint

import (
	"maps"
	"slices"
	"strconv"

	"github.com/handfast/handfast/pkg/event"
)

const (
	pinPath = "schema.pin"
	pinRule = `write the number of the version in quotes, such as "2"`

	maxPinVersion = 999_999
	maxPinType    = 256
)

// Schema says by which versions of the tenant's event schemas the endpoint goes.
type Schema struct {
	// Pin names, by event type, the version that an event has to keep to be
	// delivered here. A type that is not in it goes by the version that the event
	// was checked against. Nil for none.
	Pin map[string]int
}

// schema reads the pins and reports what a schema cannot say about them. Whether
// a version exists is known only where they are stored.
func (b builder) schema(filter Filter) Schema {
	given, ok := section(b.root, "schema")["pin"].(map[string]any)
	if !ok {
		return Schema{}
	}
	out := Schema{Pin: make(map[string]int, len(given))}
	for _, kind := range slices.Sorted(maps.Keys(given)) {
		path := join(pinPath, kind)
		if !b.found.clean(path) {
			continue
		}
		switch _, err := event.Subject("x", kind); {
		case err != nil:
			b.found.addf(path, "%s is not the type of an event: write one as it is published, without a pattern", quote(kind))
			continue
		case len(kind) > maxPinType:
			b.found.addf(path, "is a type of %d characters; a type with a schema has at most %d", len(kind), maxPinType)
			continue
		case b.found.clean("filter") && !filter.matchesType(kind):
			b.found.addf(path, "has no use, because filter.types lets no event of this type through: add it there, or remove this")
			continue
		}
		version, _ := given[kind].(string)
		number, err := strconv.Atoi(version)
		if err != nil || number < 1 || number > maxPinVersion {
			b.found.addf(path, "%s is not a version: %s", quote(version), pinRule)
			continue
		}
		out.Pin[kind] = number
	}
	return out
}
