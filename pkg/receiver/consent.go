package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Header fields of the handshakes in which a sender asks for consent.
const (
	requestOriginField = "WebHook-Request-Origin"
	allowedOriginField = "WebHook-Allowed-Origin"
	allowedRateField   = "WebHook-Allowed-Rate"
	clientIDField      = "X-AdobeSign-ClientId"
)

// errClientID repeats nothing of the request.
var errClientID = errors.New("the request names no client id that is known here; name one, once, in " + clientIDField)

// checkConsent finds everything that is wrong with what a sender may be allowed.
func (o Options) checkConsent() error {
	var problems []error
	for i, origin := range o.Origins {
		if origin == "*" {
			continue
		}
		if err := checkDNS(origin); err != nil {
			problems = append(problems, fmt.Errorf("Origins[%d]: %w", i, err)) //nolint:staticcheck // the name of a field
		}
	}
	if o.Rate < 0 {
		problems = append(problems, fmt.Errorf("Rate is %d; it cannot be negative", o.Rate)) //nolint:staticcheck // likewise
	}
	for i, id := range o.AdobeClientIDs {
		if id == "" || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			problems = append(problems, fmt.Errorf("AdobeClientIDs[%d] is empty or holds something else than visible ASCII characters", i))
		}
	}
	return errors.Join(problems...)
}

// welcome answers a sender that knocks before it delivers (HTTP 1.1 Web Hooks for
// Event Delivery 1.0.2, section 4.2). Its client certificate has been accepted, and
// the answer says that. It may deliver only if the options name its origin: that
// alone makes permission, no status does.
func (g guard) welcome(w http.ResponseWriter, span trace.Span, r *http.Request) {
	span.SetAttributes(attribute.Int("http.response.status_code", http.StatusNoContent))
	h := w.Header()
	h.Set("Allow", http.MethodPost)
	h.Set("Cache-Control", "no-store")
	if asked := r.Header.Values(requestOriginField); len(asked) == 1 && g.allowsOrigin(asked[0]) {
		h.Set(allowedOriginField, asked[0])
		h.Set(allowedRateField, "*")
		if g.Rate > 0 {
			h.Set(allowedRateField, strconv.Itoa(g.Rate))
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (g guard) allowsOrigin(asked string) bool {
	if checkDNS(asked) != nil {
		return false // it is repeated in the answer
	}
	return slices.ContainsFunc(g.Origins, func(allowed string) bool { return allowed == "*" || strings.EqualFold(allowed, asked) })
}

// echo puts the client id of a request into the answer, as senders like Adobe
// Acrobat Sign want it. It reports whether the request may go on: always where no
// ids are known here, else only with one of them.
func (g guard) echo(w http.ResponseWriter, r *http.Request) bool {
	if len(g.AdobeClientIDs) == 0 {
		return true
	}
	ids := r.Header.Values(clientIDField)
	if len(ids) != 1 || !slices.Contains(g.AdobeClientIDs, ids[0]) {
		return false
	}
	w.Header().Set(clientIDField, ids[0])
	return true
}

// intend answers the verification of intent, in both of the ways in which it may
// be.
func (g guard) intend(w http.ResponseWriter, span trace.Span, r *http.Request) {
	if !g.echo(w, r) {
		refuse(w, span, http.StatusForbidden, errClientID)
		return
	}
	span.SetAttributes(attribute.Int("http.response.status_code", http.StatusOK))
	body, err := json.Marshal(map[string]string{"xAdobeSignClientId": r.Header.Get(clientIDField)})
	if err != nil { // cannot happen for a string
		body = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n')) // the caller is gone if this fails
}

// methods are those that are answered, for Allow.
func (g guard) methods() string {
	if len(g.AdobeClientIDs) > 0 {
		return "GET, POST, OPTIONS"
	}
	return "POST, OPTIONS"
}
