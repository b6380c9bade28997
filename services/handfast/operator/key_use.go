package operator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// SchemeUse tells which schemes endpoints sign with. The zero value knows nothing and takes every scheme for used.
type SchemeUse struct {
	signing map[endpoint.Key][]string
	// unreadable are endpoints whose documents say nothing.
	unreadable map[endpoint.Key]bool
}

// SchemeUse reads the documents of one endpoint, of a tenant, or of all. now tells which schemes have retired.
func (o *Operator) SchemeUse(ctx context.Context, of endpoint.Key, now time.Time) (SchemeUse, error) {
	kv, err := o.documents(ctx)
	if err != nil {
		return SchemeUse{}, err
	}
	entries, err := readAll(ctx, kv, "*."+orAny(of.Tenant)+"."+orAny(of.Name))
	if err != nil {
		return SchemeUse{}, err
	}
	use := SchemeUse{signing: make(map[endpoint.Key][]string), unreadable: make(map[endpoint.Key]bool)}
	for _, entry := range entries {
		key, _, err := stream.ParseEndpointKey(entry.Key())
		if err != nil {
			continue // no endpoint's
		}
		held, err := parseStored(key, entry)
		if _, broken := errors.AsType[*UnreadableError](err); broken {
			use.unreadable[key] = true
			continue
		}
		use.signing[key] = held.Signature.Signing(now)
	}
	return use, nil
}

// UseOf is the use of schemes that is known from elsewhere.
func UseOf(signing map[endpoint.Key][]string) SchemeUse { return SchemeUse{signing: signing} }

// Uses reports whether the endpoint signs with the scheme, or whether that cannot be told. An endpoint that does not
// exist signs nothing.
func (u SchemeUse) Uses(key endpoint.Key, scheme string) bool {
	return u.signing == nil || u.unreadable[key] || slices.Contains(u.signing[key], scheme)
}
