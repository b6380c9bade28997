package receiver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
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

// identify returns the allowed name that the client's certificate carries: the
// certificate of the connection, or the one that a terminator tells.
func (g guard) identify(r *http.Request, now time.Time) (string, error) {
	if g.terminator != nil {
		leaf, err := g.terminator.client(r, now)
		if err != nil {
			return "", err
		}
		return g.clients.name(leaf)
	}
	for name := range r.Header {
		if identityField(strings.ToLower(name)) {
			return "", errors.New("the request carries a header that tells a client certificate, but no terminator is expected in front of this receiver; " +
				"let the proxy remove it, or name the proxy as the receiver's Terminator")
		}
	}
	leaf, err := ofConnection(r.TLS, now)
	if err != nil {
		return "", err
	}
	return g.clients.name(leaf)
}

// ofConnection runs for every request, because a connection can live longer than
// the certificate that opened it, and a resumed one is not verified again.
func ofConnection(state *tls.ConnectionState, now time.Time) (*x509.Certificate, error) {
	if state == nil {
		return nil, errors.New("the request did not come over TLS, so there is no client certificate to check")
	}
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return nil, errors.New("no verified client certificate; call with one, and let the server require and verify it")
	}
	leaf := state.VerifiedChains[0][0]
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil, errors.New("the client certificate is not valid at this time; renew it and open a new connection")
	}
	return leaf, nil
}

// name returns the first of the certificate's names that is allowed.
func (a allowed) name(leaf *x509.Certificate) (string, error) {
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
