package endpoint

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

const activationPath = "activation"

// ActivationKind is the way in which a receiver is asked, before anything is
// delivered, whether it wants deliveries. It is a closed list; the zero value
// asks nothing.
type ActivationKind uint8

const (
	// NoActivation delivers without asking.
	NoActivation ActivationKind = iota
	// CloudEventsActivation is the abuse protection of HTTP 1.1 Web Hooks for Event
	// Delivery 1.0.2, section 4.
	CloudEventsActivation
	// AdobeSignActivation is the verification of intent of Adobe Acrobat Sign, and
	// its acknowledgement of every delivery.
	AdobeSignActivation
)

// String returns the word of the document: "none", "cloudevents" or
// "adobe-sign".
func (k ActivationKind) String() string {
	switch k {
	case NoActivation:
		return "none"
	case CloudEventsActivation:
		return "cloudevents"
	case AdobeSignActivation:
		return "adobe-sign"
	default:
		return fmt.Sprintf("ActivationKind(%d)", uint8(k))
	}
}

// Activation says how the receiver is asked. Until it has agreed, no byte of an
// event goes to it.
type Activation struct {
	Kind ActivationKind
	// Origin is the DNS name by which a receiver of the kind cloudevents knows us,
	// in lower case and punycode.
	Origin string
	// Rate is how many requests per minute such a receiver is asked to allow; 0
	// asks for no particular rate.
	Rate int
	// ClientID is what a receiver of the kind adobe-sign has to echo.
	ClientID string
}

// Activated is the consent of a receiver, as it was given.
type Activated struct {
	// Mark is that of the document for which it was given: see
	// Endpoint.ActivationMark.
	Mark  string    `json:"mark"`
	Since time.Time `json:"since"`
	// Rate is how many requests per minute the receiver allows; 0 is no limit.
	Rate int `json:"rate,omitempty"`
	// Said is the receiver's answer in words.
	Said string `json:"said"`
}

// ActivationMark stands for what a receiver is asked and for who asks: the URL,
// our identity, the other terms of the connection, and the setting itself. As
// long as they stay, applying a document again does not ask again. It is a hash,
// because a URL is often a secret; and it is empty for an endpoint that asks
// nothing.
func (e *Endpoint) ActivationMark() string { return e.mark }

// Activated reports whether deliveries may go as far as the receiver's consent
// is concerned: none is needed, or it was given for this document, and not before
// the receiver had us switched off.
func (r Registered) Activated() bool {
	if r.Activation.Kind == NoActivation {
		return true
	}
	given := r.Status.Activation
	if given == nil || given.Mark != r.mark {
		return false
	}
	return r.Status.Disabled == nil || given.Since.After(r.Status.Disabled.At)
}

// Rate is how many requests per minute the receiver allows; 0 is no limit.
func (r Registered) Rate() int {
	if r.Activation.Kind == NoActivation || r.Status.Activation == nil {
		return 0
	}
	return r.Status.Activation.Rate
}

// asks reports whether the receiver has to be asked before anything goes to it.
func (r Registered) asks() bool { return !r.Activated() && !r.Disabled() }

// noteActivation keeps the set of endpoints that have an activation.
func (r *Registry) noteActivation(e *Endpoint) {
	if e.Activation.Kind == NoActivation {
		delete(r.asked, e.Key())
		return
	}
	if r.asked == nil {
		r.asked = make(map[Key]struct{})
	}
	r.asked[e.Key()] = struct{}{}
}

// Asking returns the endpoints whose receivers have to be asked before anything
// goes to them, in no order.
func (r *Registry) Asking() []Registered {
	r.writers.Lock()
	keys := slices.Collect(maps.Keys(r.asked))
	r.writers.Unlock()
	var found []Registered
	for _, k := range keys {
		if e, ok := r.Get(k); ok && e.asks() {
			found = append(found, e)
		}
	}
	return found
}

func (b builder) activation() Activation {
	given := section(b.root, activationPath)
	if given == nil || !b.found.clean(activationPath+".kind") {
		return Activation{}
	}
	out := Activation{ClientID: text(given, "client_id")}
	if rate, ok := given["rate"].(int64); ok {
		out.Rate = int(rate)
	}
	switch kind := text(given, "kind"); kind {
	case CloudEventsActivation.String():
		out.Kind = CloudEventsActivation
		out.Origin = b.origin(given)
		b.foreign(given, kind, "client_id")
	case AdobeSignActivation.String():
		out.Kind = AdobeSignActivation
		b.needed(given, kind, "client_id")
		b.foreign(given, kind, "origin", "rate")
	}
	return out
}

// origin is one name in one spelling, which a receiver can compare.
func (b builder) origin(given map[string]any) string {
	const path = activationPath + ".origin"
	b.needed(given, CloudEventsActivation.String(), "origin")
	name := text(given, "origin")
	if name == "" || !b.found.clean(path) {
		return ""
	}
	normal, problem := normalHost(name)
	if problem != "" {
		b.found.addf(path, "%s %s", quote(name), problem)
	}
	return normal
}

func (b builder) needed(given map[string]any, kind, field string) {
	if _, there := given[field]; !there {
		path := join(activationPath, field)
		b.found.first(path, "is required by kind "+kind+": "+rule(path))
	}
}

func (b builder) foreign(given map[string]any, kind string, fields ...string) {
	for _, field := range fields {
		if _, there := given[field]; there {
			b.found.first(join(activationPath, field), "means nothing to kind "+kind+": remove it")
		}
	}
}

// activationMark is computed once per document: every delivery asks for it.
func activationMark(e *Endpoint) string {
	if e.Activation.Kind == NoActivation {
		return ""
	}
	h := sha256.New()
	for _, part := range []string{
		e.authority, e.URL.EscapedPath(), e.URL.RawQuery,
		e.TLS.Identity, e.TLS.ServerName, e.TLS.Mutual.String(),
		e.Activation.Kind.String(), e.Activation.Origin, strconv.Itoa(e.Activation.Rate), e.Activation.ClientID,
	} {
		_, _ = h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
