package stream

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/event"
)

// Headers that travel with a signed request and are not part of it. Everything else in the message is the request.
const (
	controlPrefix  = "Handfast-"
	brokerPrefix   = "Nats-"
	deliveryHeader = "Handfast-Delivery"
	attemptHeader  = "Handfast-Attempt"
	baseHeader     = "Handfast-Base"
	heldHeader     = "Handfast-Held"
	resignedHeader = "Handfast-Resigned"
	inlineHeader   = "Handfast-Inline"
	eventHeader    = "Handfast-Event"
	firstHeader    = "Handfast-First"
	signedHeader   = "Handfast-Signed"
	keysHeader     = "Handfast-Keys"
	previousHeader = "Handfast-Previous"
	typeHeader     = "Handfast-Event-Type"
	sourceHeader   = "Handfast-Event-Source"
	idHeader       = "Handfast-Event-Id"
	queryHeader    = "Handfast-Query"
	stampHeader    = "Handfast-Stamp"
	schemaHeader   = "Handfast-Schema"
	// WakeHeader marks a message on a due subject as a token that wakes an endpoint instead of a retry.
	WakeHeader = "Handfast-Wake"

	traceHeader = "traceparent"
	stateHeader = "tracestate"
)

// queryCharacters are those of a query that a scheme may add: nothing that could end a request line or begin a fragment.
const queryCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~=&%"

// Signed is a message of DELIVERIES: the HTTP request, byte for byte what was signed, and what belongs to it.
type Signed struct {
	Delivery delivery.Delivery
	// Header holds the HTTP header fields of the request, Body its body.
	Header http.Header
	Body   []byte
	// Query is what a scheme has added to the query of the endpoint's URL, and signed with it; mostly empty.
	Query string
	// SignedAt is when the signatures were made.
	SignedAt time.Time
	// Keys names the keys that signed, as scheme=id.
	Keys []string
	// Stamp is by what signers know a payload of theirs when it comes back with a record.
	Stamp string
	// Type, Source and ID are the event's, for people who read receipts.
	Type, Source, ID string
	// Trace is the W3C traceparent under which this delivery is sent; Previous that of the attempt before it.
	Trace, TraceState, Previous string
}

// SignedMessage writes s for DELIVERIES.
func (t Topology) SignedMessage(s Signed) *nats.Msg {
	header := make(nats.Header, len(s.Header)+16)
	maps.Copy(header, nats.Header(s.Header))
	set := func(name, value string) {
		if value != "" {
			header[name] = []string{value}
		}
	}
	d := s.Delivery
	set(deliveryHeader, string(d.ID))
	set(attemptHeader, strconv.Itoa(d.Attempt))
	count := func(name string, n int) {
		if n != 0 {
			set(name, strconv.Itoa(n))
		}
	}
	count(baseHeader, d.Base)
	count(heldHeader, d.Held)
	count(resignedHeader, d.Resigned)
	if d.Inline {
		set(inlineHeader, "1")
	}
	set(eventHeader, strconv.FormatUint(d.Event, 10))
	set(firstHeader, d.First.UTC().Format(time.RFC3339Nano))
	set(signedHeader, s.SignedAt.UTC().Format(time.RFC3339Nano))
	set(keysHeader, strings.Join(s.Keys, " "))
	set(previousHeader, s.Previous)
	// An id or a source may hold any character; a raw line break would end the header.
	set(typeHeader, event.EncodeHeaderValue(s.Type))
	set(sourceHeader, event.EncodeHeaderValue(s.Source))
	set(idHeader, event.EncodeHeaderValue(s.ID))
	set(queryHeader, s.Query)
	set(stampHeader, s.Stamp)
	set(schemaHeader, d.Schema)
	set(traceHeader, s.Trace)
	set(stateHeader, s.TraceState)
	return &nats.Msg{Subject: DeliverySubject(d.Endpoint, t.Partitions), Header: header, Data: s.Body}
}

// ParseSigned reads a message of DELIVERIES. An error means that a foreign writer put it there.
func ParseSigned(subject string, header nats.Header, data []byte) (Signed, error) {
	key, err := parseDeliverySubject(subject)
	if err != nil {
		return Signed{}, err
	}
	one := func(name string) string {
		if values := header[name]; len(values) > 0 {
			return values[0]
		}
		return ""
	}
	s := Signed{
		Body: data, Type: decoded(one(typeHeader)), Source: decoded(one(sourceHeader)), ID: decoded(one(idHeader)),
		Trace: one(traceHeader), TraceState: one(stateHeader), Previous: one(previousHeader), Keys: strings.Fields(one(keysHeader)), Query: one(queryHeader), Stamp: one(stampHeader),
	}
	s.Delivery = delivery.Delivery{ID: delivery.ID(one(deliveryHeader)), Endpoint: key, Schema: one(schemaHeader), Inline: one(inlineHeader) == "1"}
	if err := s.readNumbers(one); err != nil {
		return Signed{}, fmt.Errorf("message on %s is not a signed request: %w", subject, err)
	}
	s.Header = make(http.Header, len(header))
	for name, values := range header {
		if !isControl(name) {
			s.Header[name] = values
		}
	}
	return s, nil
}

// readNumbers fills in the counters and times; the error names everything that is wrong.
func (s *Signed) readNumbers(one func(name string) string) error {
	d := &s.Delivery
	errs := make([]error, 0, 8) // stays on the stack
	number := func(name string, n *int) {
		if text := one(name); text != "" {
			var err error
			if *n, err = strconv.Atoi(text); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	moment := func(name string, at *time.Time) {
		var err error
		if *at, err = time.Parse(time.RFC3339Nano, one(name)); err != nil || at.IsZero() {
			errs = append(errs, fmt.Errorf("%s: %q is not a time", name, one(name)))
		}
	}
	number(attemptHeader, &d.Attempt)
	number(baseHeader, &d.Base)
	number(heldHeader, &d.Held)
	number(resignedHeader, &d.Resigned)
	moment(firstHeader, &d.First)
	moment(signedHeader, &s.SignedAt)
	var err error
	if d.Event, err = strconv.ParseUint(one(eventHeader), 10, 64); err != nil || (d.Event == 0 && !d.Inline) {
		errs = append(errs, fmt.Errorf("%s: %q is not the sequence of an event", eventHeader, one(eventHeader)))
	}
	if !d.ID.Valid() {
		errs = append(errs, fmt.Errorf("%s: %q is not the id of a delivery", deliveryHeader, d.ID))
	}
	if err := d.CheckCounters(); err != nil {
		errs = append(errs, err)
	}
	if strings.ContainsFunc(s.Query, func(r rune) bool { return !strings.ContainsRune(queryCharacters, r) }) {
		errs = append(errs, fmt.Errorf("%s: %q is not a plain query", queryHeader, s.Query))
	}
	return errors.Join(errs...)
}

func decoded(value string) string {
	text, err := event.DecodeHeaderValue(value)
	if err != nil {
		return strings.ToValidUTF8(value, "\uFFFD") // for people only, and written again with the same meaning
	}
	return text
}

func isControl(name string) bool {
	return strings.HasPrefix(name, controlPrefix) || strings.HasPrefix(name, brokerPrefix) || name == traceHeader || name == stateHeader
}
