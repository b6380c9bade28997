package receiver

import (
	"crypto/tls"
	"errors"
	"strings"
	"time"
)

// ErrClient means that the caller did not prove to be one of the allowed clients.
var ErrClient = errors.New("client not allowed")

// allowed is the names that may call.
type allowed struct {
	uris map[string]bool
	dns  map[string]bool // in lower case
}

// identify returns the allowed name that the client's certificate carries. It
// runs for every request, because a connection can live longer than the
// certificate that opened it, and a resumed one is not verified again.
func (a allowed) identify(state *tls.ConnectionState, now time.Time) (string, error) {
	if state == nil {
		return "", errors.New("the request did not come over TLS, so there is no client certificate to check")
	}
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return "", errors.New("no verified client certificate; call with one, and let the server require and verify it")
	}
	leaf := state.VerifiedChains[0][0]
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return "", errors.New("the client certificate is not valid at this time; renew it and open a new connection")
	}
	for _, uri := range leaf.URIs {
		if name := uri.String(); a.uris[name] {
			return name, nil
		}
	}
	for _, name := range leaf.DNSNames {
		if lower := strings.ToLower(name); a.dns[lower] {
			return lower, nil
		}
	}
	return "", errors.New("the client certificate is good, but none of its names (URI or DNS subject alternative names) is allowed to call here")
}
