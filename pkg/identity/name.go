package identity

import (
	"fmt"
	"regexp"
	"strings"
)

// What stands in front of a name in the bucket.
const (
	recordPrefix    = "identity."
	authorityPrefix = "authority."
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// RecordKey is the key of an identity's entry in the bucket, and the place to
// which its sealed keys are bound.
func RecordKey(name string) string { return recordPrefix + name }

// AuthorityKey is the key of an authority's entry in the bucket, and the place to
// which its sealed key is bound.
func AuthorityKey(name string) string { return authorityPrefix + name }

// CheckName tells in words why a name cannot be the name of an identity or of an
// authority. Names are those of endpoints' documents: 1 to 63 lower-case letters,
// digits or hyphens, with a letter or digit at both ends.
func CheckName(name string) error {
	if namePattern.MatchString(name) {
		return nil
	}
	const most = 80
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fmt.Errorf("%q is not a name: use 1 to 63 lower-case letters, digits or hyphens, with a letter or digit at both ends", name)
}

// nameIn returns the name in a bucket's key that begins with the prefix.
func nameIn(prefix, key string) (string, error) {
	name, found := strings.CutPrefix(key, prefix)
	if !found {
		return "", fmt.Errorf("its key %q does not begin with %q", key, prefix)
	}
	return name, CheckName(name)
}
