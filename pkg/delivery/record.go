package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Retry is the small record that stands in RETRIES while a delivery waits: everything but the body, which stays in
// EVENTS under Event. Its subject names partition, endpoint and delivery too; the record repeats them so that a due
// message, whose subject has lost the delivery, is complete by itself.
type Retry struct {
	Delivery ID        `json:"delivery"`
	Tenant   string    `json:"tenant"`
	Endpoint string    `json:"endpoint"`
	Event    uint64    `json:"event"`
	Attempt  int       `json:"attempt"`
	Base     int       `json:"base,omitempty"`
	Resigned int       `json:"resigned,omitempty"`
	First    time.Time `json:"first"`
	// Outcome is why it waits.
	Outcome Outcome `json:"outcome"`
	// Previous is the W3C traceparent of the attempt before, for a span link.
	Previous string `json:"previous,omitempty"`
	// Inline holds the payload of an event that may have aged out of EVENTS; nil while it surely stands there.
	Inline *Inline `json:"inline,omitempty"`
}

// Inline is a payload that travels with its record.
type Inline struct {
	ContentType string `json:"content_type"`
	Body        []byte `json:"body"`
	Type        string `json:"type"`
	Source      string `json:"source"`
	ID          string `json:"id"`
}

// NewRetry makes the record of a step that schedules.
func NewRetry(d Delivery, step Step, outcome Outcome, previous string) Retry {
	return Retry{
		Delivery: d.ID, Tenant: d.Endpoint.Tenant, Endpoint: d.Endpoint.Name, Event: d.Event,
		Attempt: step.Attempt, Base: d.Base, Resigned: step.Resigned, First: d.First, Outcome: outcome, Previous: previous,
	}
}

// Due is the delivery that the record stands for.
func (r Retry) Due() Delivery {
	return Delivery{
		ID: r.Delivery, Endpoint: endpoint.Key{Tenant: r.Tenant, Name: r.Endpoint}, Event: r.Event,
		Attempt: r.Attempt, Base: r.Base, Resigned: r.Resigned, First: r.First, Inline: r.Inline != nil,
	}
}

// ParseRetry reads a record. The error names what is missing; such a record can only come from a foreign writer.
func ParseRetry(data []byte) (Retry, error) {
	var r Retry
	if err := json.Unmarshal(data, &r); err != nil {
		return Retry{}, fmt.Errorf("retry record is not valid JSON: %w", err)
	}
	switch {
	case r.Delivery == "":
		return Retry{}, errors.New("retry record has no delivery")
	case r.Tenant == "" || r.Endpoint == "":
		return Retry{}, fmt.Errorf("retry record of delivery %q has no endpoint", r.Delivery)
	case r.Event == 0 && r.Inline == nil:
		return Retry{}, fmt.Errorf("retry record of delivery %q has no event sequence", r.Delivery)
	case r.Attempt < 1 || r.Resigned < 0 || r.Base < 0 || r.Base >= r.Attempt:
		return Retry{}, fmt.Errorf("retry record of delivery %q has attempt %d, resigned %d", r.Delivery, r.Attempt, r.Resigned)
	}
	return r, nil
}
