package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/schema"
)

// Pinned names the endpoints that pin a version.
func (o *Operator) Pinned(ctx context.Context, name schema.Name) ([]string, error) {
	all, err := o.Endpoints(ctx, name.Tenant)
	if err != nil {
		return nil, err // one that cannot be read may pin it, too
	}
	var pinned []string
	for _, e := range all {
		if e.Schema.Pin[name.Type] == name.Number {
			pinned = append(pinned, e.Key().String())
		}
	}
	return pinned, nil
}

// Pins names, by version, the endpoints of a tenant, or of all, that pin it. The error may come with a result, as that of
// [Operator.Endpoints].
func (o *Operator) Pins(ctx context.Context, tenant string) (map[schema.Name][]string, error) {
	all, err := o.Endpoints(ctx, tenant)
	pins := make(map[schema.Name][]string)
	for _, e := range all {
		for kind, number := range e.Schema.Pin {
			name := schema.Name{Kind: schema.Kind{Tenant: e.Tenant, Type: kind}, Number: number}
			pins[name] = append(pins[name], e.Key().String())
		}
	}
	return pins, err
}

// CheckPins says which pins of endpoint documents name no version that is in force: all of them.
func (o *Operator) CheckPins(ctx context.Context, documents []*endpoint.Endpoint) error {
	var problems []error
	for _, e := range documents {
		for _, kind := range sortedKeys(e.Schema.Pin) {
			number := e.Schema.Pin[kind]
			v, err := o.FindSchema(ctx, schema.Kind{Tenant: e.Tenant, Type: kind}, number)
			var missing *NotFoundError
			switch {
			case errors.As(err, &missing):
				problems = append(problems, fmt.Errorf("endpoint %s: schema.pin: %w", e.Key(), err))
			case err != nil:
				return err
			case v.State() != "active":
				problems = append(problems, fmt.Errorf("endpoint %s: schema.pin: version %d of the schema of %s is %s; pin one that is active", e.Key(), number, v.Kind, v.State()))
			}
		}
	}
	return errors.Join(problems...)
}

// Checked is what a sample event would come to.
type Checked struct {
	Schema string `json:"schema"`
	// Version is what it was checked against; 0 when no schema is in force for it.
	Version    int    `json:"version,omitempty"`
	DataSchema string `json:"dataschema,omitempty"`
	// Reasons are everything that is wrong; none when it passes.
	Reasons []string `json:"reasons,omitempty"`
	// Pins are the endpoints that want it and pin another version.
	Pins []CheckedPin `json:"pins,omitempty"`
}

// CheckedPin is the same for one endpoint.
type CheckedPin struct {
	Endpoint string   `json:"endpoint"`
	Version  int      `json:"version"`
	Reasons  []string `json:"reasons,omitempty"`
}

// Passes tells that nothing is wrong, for any endpoint.
func (c Checked) Passes() bool {
	for _, p := range c.Pins {
		if len(p.Reasons) > 0 {
			return false
		}
	}
	return len(c.Reasons) == 0
}

// CheckEvent checks an event as signers would now, without publishing it.
func (o *Operator) CheckEvent(ctx context.Context, e event.Event) (Checked, error) {
	kind := schema.Kind{Tenant: e.Tenant(), Type: e.Type()}
	out := Checked{Schema: kind.String()}
	registry, err := o.Schemas(ctx, e.Tenant())
	if err != nil {
		return out, err
	}
	verdict, err := registry.Judge(e, everything())
	if violation, ok := errors.AsType[*schema.ViolationError](err); ok {
		if violation.Version != nil {
			out.Version = violation.Version.Number
		}
		out.Reasons = violation.Reasons()[1:]
		return out, nil
	}
	if err != nil || verdict.Version == nil {
		return out, err //nolint:wrapcheck // says what and what to do
	}
	out.Version, out.DataSchema = verdict.Version.Number, verdict.DataSchema
	all, err := o.Endpoints(ctx, e.Tenant())
	if err != nil {
		return out, err
	}
	for _, to := range all {
		number, pins := to.Schema.Pin[e.Type()]
		if wanted, err := to.Match(e); err != nil || !wanted || !pins {
			continue
		}
		pin := CheckedPin{Endpoint: to.Key().String(), Version: number}
		_, err := verdict.Pin(number)
		if violation, ok := errors.AsType[*schema.ViolationError](err); ok {
			pin.Reasons = violation.Reasons()[1:]
		} else if err != nil {
			pin.Reasons = []string{err.Error()}
		}
		out.Pins = append(out.Pins, pin)
	}
	return out, nil
}
