package endpoint

import (
	"fmt"
	"regexp"
	"strings"
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Key names an endpoint among all tenants. It is comparable.
type Key struct {
	Tenant, Name string
}

// String returns "tenant/name".
func (k Key) String() string { return k.Tenant + "/" + k.Name }

// ParseKey reads what Key.String writes. Both parts must be names: 1 to 63
// lower-case letters, digits or hyphens, with a letter or digit at both ends.
func ParseKey(text string) (Key, error) {
	tenant, name, found := strings.Cut(text, "/")
	if !found || !namePattern.MatchString(tenant) || !namePattern.MatchString(name) {
		return Key{}, fmt.Errorf("%s is not the key of an endpoint: write tenant/name, such as acme/orders; for each part %s", quote(text), nameRule)
	}
	return Key{Tenant: tenant, Name: name}, nil
}
