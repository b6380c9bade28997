package receiver

import (
	"context"
	"time"
)

// Delivery is a request that passed every check.
type Delivery struct {
	// ID is the webhook-id. It is the same on every attempt, so it tells a
	// repeated delivery from a new one.
	ID string
	// Time is when this attempt was signed, in whole seconds.
	Time time.Time
	// ClientSAN is the name in the client's certificate that is on the list.
	ClientSAN string
	// Scheme and KeyID say which key's signature matched.
	Scheme, KeyID string
	// Body is the exact bytes that were signed. The request's body reads the same
	// bytes; do not change them.
	Body []byte
}

type contextKey struct{}

// FromContext returns the delivery that the middleware put into the request's
// context, and false if the middleware did not run.
func FromContext(ctx context.Context) (Delivery, bool) {
	d, ok := ctx.Value(contextKey{}).(Delivery)
	return d, ok
}
