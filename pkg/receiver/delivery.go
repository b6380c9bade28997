package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Delivery is a request that passed every check.
type Delivery struct {
	// ID is the webhook-id. It is the same on every attempt, so it tells a
	// repeated delivery from a new one. For a scheme that signs no id it is
	// derived from what the scheme signs.
	ID string
	// Time is when this attempt was signed, in whole seconds; zero for a scheme
	// that signs no time.
	Time time.Time
	// ClientSAN is the name in the client's certificate that is on the list.
	ClientSAN string
	// Scheme and KeyID say which key's signature matched. The id is that of the
	// verifier; signature.Verifier.Named gives it the sender's.
	Scheme, KeyID string
	// Body is the exact bytes that were signed. The request's body reads the same
	// bytes; do not change them.
	Body []byte

	contentType string
}

// ErrNotEvent means that a delivery's body is not a CloudEvent.
var ErrNotEvent = errors.New("the body is not a CloudEvent in JSON")

const structuredEvent = "application/cloudevents+json"

// Event returns the CloudEvent that the body is, in the structured mode (CloudEvents 1.0.2, HTTP binding, section 3.2). It
// is read when it is asked for, from what was verified. An event in binary mode has its attributes in ce-* headers, which
// no default scheme signs, so it is not one here. The error wraps [ErrNotEvent].
func (d Delivery) Event() (event.Event, error) {
	if kind, _, err := mime.ParseMediaType(d.contentType); err != nil || kind != structuredEvent {
		return event.Event{}, fmt.Errorf("%w: its Content-Type is not %s", ErrNotEvent, structuredEvent)
	}
	var e event.Event
	if err := json.Unmarshal(d.Body, &e); err != nil {
		return event.Event{}, fmt.Errorf("%w: %w", ErrNotEvent, err)
	}
	if err := e.Validate(); err != nil {
		return event.Event{}, fmt.Errorf("%w: %w", ErrNotEvent, err)
	}
	return e, nil
}

type contextKey struct{}

// FromContext returns the delivery that the middleware put into the request's
// context, and false if the middleware did not run.
func FromContext(ctx context.Context) (Delivery, bool) {
	d, ok := ctx.Value(contextKey{}).(Delivery)
	return d, ok
}
