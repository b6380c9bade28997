package operator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// NotAgreedError says that the receiver of an endpoint has not agreed to deliveries.
type NotAgreedError struct {
	Endpoint endpoint.Key
	// Held is what is known; nil when nobody has asked the receiver yet.
	Held *endpoint.Held
}

// Error says why, and what to do.
func (e *NotAgreedError) Error() string {
	if e.Held == nil {
		return fmt.Sprintf("the receiver of %s has not been asked yet; is a dispatcher running?", e.Endpoint)
	}
	return fmt.Sprintf("%s is not active (%s): %s. %s", e.Endpoint, e.Held.Outcome, e.Held.Detail, e.Held.Advice)
}

// Activate has the receiver of an endpoint asked for its consent at once, by the dispatchers, also when it has agreed
// before: until it has answered, deliveries wait. It waits for the answer within a time and returns the endpoint as it
// stands then; the error is a [NotAgreedError] when that is not active.
func (o *Operator) Activate(ctx context.Context, key endpoint.Key, within time.Duration) (Stored, error) {
	held, err := o.Endpoint(ctx, key)
	switch {
	case err != nil:
		return Stored{}, err
	case held.Activation.Kind == endpoint.NoActivation:
		return held, fmt.Errorf("endpoint %s has no activation, so its receiver is not asked; set it in its document, such as activation: {kind: cloudevents, origin: webhooks.acme.example}", key)
	case held.Disabled():
		return held, fmt.Errorf("endpoint %s is disabled: %s; apply its document again to enable it, which asks its receiver", key, held.Status.Disabled.Reason)
	case held.Paused:
		return held, fmt.Errorf("endpoint %s is paused, and its receiver is left alone; `handfast endpoint resume %s` lets it be asked", key, key)
	}
	catalogue, err := o.topology.OpenCatalogue(ctx, o.js, slog.New(slog.DiscardHandler))
	if err != nil {
		return held, err //nolint:wrapcheck // says what and where already
	}
	if _, err := catalogue.UpdateStatus(ctx, key, func(s *endpoint.Status) { s.Activation, s.Held = nil, nil }); err != nil {
		return held, err //nolint:wrapcheck // says what and where already
	}
	return o.answer(ctx, key, within)
}

// answer looks for what the receiver has said.
func (o *Operator) answer(ctx context.Context, key endpoint.Key, within time.Duration) (Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := o.Endpoint(context.WithoutCancel(ctx), key)
		switch {
		case err != nil:
			return Stored{}, err
		case held.Activated() && held.Status.Held == nil:
			return held, nil
		case held.Status.Held != nil || ctx.Err() != nil:
			return held, &NotAgreedError{Endpoint: key, Held: held.Status.Held}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
