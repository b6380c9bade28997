package stream

import (
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
	// WakeHeader marks a message on a due subject as a token that wakes an endpoint instead of a retry.
	WakeHeader = "Handfast-Wake"

	traceHeader = "traceparent"
	stateHeader = "tracestate"
)

// Signed is a message of DELIVERIES: the HTTP request, byte for byte what was signed, and what belongs to it.
type Signed struct {
	Delivery delivery.Delivery
	// Header holds the HTTP header fields of the request, Body its body.
	Header http.Header
	Body   []byte
	// SignedAt is when the signatures were made.
	SignedAt time.Time
	// Keys names the keys that signed, as scheme=id.
	Keys []string
	// Type, Source and ID are the event's, for people who read receipts.
	Type, Source, ID string
	// Trace is the W3C traceparent under which this delivery is sent; Previous that of the attempt before it.
	Trace, TraceState, Previous string
}

// SignedMessage writes s for DELIVERIES.
func (t Topology) SignedMessage(s Signed) *nats.Msg {
	header := make(nats.Header, len(s.Header)+14)
	maps.Copy(header, nats.Header(s.Header))
	set := func(name, value string) {
		if value != "" {
			header[name] = []string{value}
		}
	}
	d := s.Delivery
	set(deliveryHeader, string(d.ID))
	set(attemptHeader, strconv.Itoa(d.Attempt))
	if d.Base > 0 {
		set(baseHeader, strconv.Itoa(d.Base))
	}
	if d.Resigned > 0 {
		set(resignedHeader, strconv.Itoa(d.Resigned))
	}
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
		Trace: one(traceHeader), TraceState: one(stateHeader), Previous: one(previousHeader), Keys: strings.Fields(one(keysHeader)),
	}
	s.Delivery = delivery.Delivery{ID: delivery.ID(one(deliveryHeader)), Endpoint: key, Inline: one(inlineHeader) == "1"}
	var errs [6]error
	s.Delivery.Attempt, errs[0] = strconv.Atoi(one(attemptHeader))
	if resigned := one(resignedHeader); resigned != "" {
		s.Delivery.Resigned, errs[1] = strconv.Atoi(resigned)
	}
	s.Delivery.Event, errs[2] = strconv.ParseUint(one(eventHeader), 10, 64)
	s.Delivery.First, errs[3] = time.Parse(time.RFC3339Nano, one(firstHeader))
	if base := one(baseHeader); base != "" {
		s.Delivery.Base, errs[5] = strconv.Atoi(base)
	}
	s.SignedAt, errs[4] = time.Parse(time.RFC3339Nano, one(signedHeader))
	for _, err := range errs {
		if err != nil {
			return s, fmt.Errorf("message on %s is not a signed request: %w", subject, err)
		}
	}
	if s.Delivery.ID == "" || s.Delivery.Attempt < 1 || (s.Delivery.Event == 0 && !s.Delivery.Inline) {
		return s, fmt.Errorf("message on %s is not a signed request: delivery %q, attempt %d, event %d", subject, s.Delivery.ID, s.Delivery.Attempt, s.Delivery.Event)
	}
	s.Header = make(http.Header, len(header))
	for name, values := range header {
		if !isControl(name) {
			s.Header[name] = values
		}
	}
	return s, nil
}

func decoded(value string) string {
	text, err := event.DecodeHeaderValue(value)
	if err != nil {
		return value // for people only
	}
	return text
}

func isControl(name string) bool {
	return strings.HasPrefix(name, controlPrefix) || strings.HasPrefix(name, brokerPrefix) || name == traceHeader || name == stateHeader
}
