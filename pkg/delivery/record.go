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
	Held     int       `json:"held,omitempty"`
	Resigned int       `json:"resigned,omitempty"`
	First    time.Time `json:"first"`
	// Schema is that of [Delivery]. A person who replays a delivery may have decided it anew.
	Schema string `json:"dataschema,omitempty"`
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
	// Stamp is by what a signer knows that a signer built the payload for this delivery.
	Stamp string `json:"stamp,omitempty"`
}

// NewRetry makes the record of a step that schedules.
func NewRetry(d Delivery, step Step, outcome Outcome, previous string) Retry {
	held := d.Held
	if step.Hold {
		held++
	}
	return Retry{
		Delivery: d.ID, Tenant: d.Endpoint.Tenant, Endpoint: d.Endpoint.Name, Event: d.Event,
		Attempt: step.Attempt, Base: d.Base, Held: held, Resigned: step.Resigned, First: d.First, Schema: d.Schema, Outcome: outcome, Previous: previous,
	}
}

// Due is the delivery that the record stands for.
func (r Retry) Due() Delivery {
	return Delivery{
		ID: r.Delivery, Endpoint: endpoint.Key{Tenant: r.Tenant, Name: r.Endpoint}, Event: r.Event,
		Attempt: r.Attempt, Base: r.Base, Held: r.Held, Resigned: r.Resigned, First: r.First, Schema: r.Schema, Inline: r.Inline != nil,
	}
}

// ParseRetry reads a record. The error names everything that is wrong with it; such a record can only come from a foreign
// writer. What is accepted can be written again and makes valid subjects.
func ParseRetry(data []byte) (Retry, error) {
	var r Retry
	if err := json.Unmarshal(data, &r); err != nil {
		return Retry{}, fmt.Errorf("retry record is not valid JSON: %w", err)
	}
	if err := r.check(); err != nil {
		return Retry{}, fmt.Errorf("retry record of delivery %q: %w", r.Delivery, err)
	}
	return r, nil
}

func (r Retry) check() error {
	var errs []error
	if !r.Delivery.Valid() {
		errs = append(errs, errors.New("the delivery's id is not 1 to 64 letters, digits, '_' or '-'"))
	}
	if _, err := endpoint.ParseKey(r.Due().Endpoint.String()); err != nil {
		errs = append(errs, fmt.Errorf("no endpoint: %w", err))
	}
	if r.Event == 0 && r.Inline == nil {
		errs = append(errs, errors.New("no event sequence and no payload"))
	}
	if err := r.Due().CheckCounters(); err != nil {
		errs = append(errs, err)
	}
	if r.First.IsZero() {
		errs = append(errs, errors.New("no time of the event"))
	}
	if r.Outcome == 0 {
		errs = append(errs, errors.New("no outcome"))
	}
	return errors.Join(errs...)
}
