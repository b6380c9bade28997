package stream

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoJetStream says that a server is there, and that nobody on it answers JetStream's requests.
var ErrNoJetStream = errors.New("no JetStream answers on this NATS server; switch it on there (`nats-server -js`) and for this user's account, or wait until it has started")

// MissingError names what is no longer on the server of that on which a service works.
type MissingError struct {
	// Names are for people, as in "stream EVENTS", "consumer EVENTS/signer" and "bucket endpoints".
	Names []string
}

// Error says what to do about it.
func (e *MissingError) Error() string {
	return "no longer on the NATS server: " + strings.Join(e.Names, ", ") + "; run `handfast topology apply` with an administrator's credentials, which makes it anew, without what was in it"
}

// Parts are what a service cannot work without.
type Parts struct {
	Streams []string
	// Consumers are written STREAM/CONSUMER.
	Consumers []string
	Buckets   []string
}

// SignerParts is what a signer binds to, as far as it may ask for it by deploy/nats/handfast.conf.
func SignerParts() Parts {
	return Parts{
		Streams: []string{Events, Deliveries, Backlog}, Consumers: []string{Events + "/" + SignerConsumer, Retries + "/" + DueConsumer},
		Buckets: []string{EndpointBucket, SigningKeyBucket, SchemaBucket},
	}
}

// DispatcherParts is that of a dispatcher; see [SignerParts].
func DispatcherParts() Parts {
	return Parts{Streams: []string{Deliveries, Retries}, Buckets: []string{EndpointBucket, DispatcherBucket, IdentityBucket, AlertBucket}}
}

// Missing looks whether all of it is there. The error is a [*MissingError] with everything that is not, or
// [ErrNoJetStream]; a server that does not answer in time tells nothing, and neither does a request that is not permitted.
func (p Parts) Missing(ctx context.Context, js jetstream.JetStream) error {
	var gone []string
	for _, name := range p.Streams {
		_, err := js.Stream(ctx, name)
		if errors.Is(err, nats.ErrNoResponders) {
			return ErrNoJetStream
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			gone = append(gone, "stream "+name)
		}
	}
	for _, name := range p.Consumers {
		of, consumer, _ := strings.Cut(name, "/")
		// That of a stream which is gone is told with it.
		if _, err := js.Consumer(ctx, of, consumer); errors.Is(err, jetstream.ErrConsumerNotFound) || (errors.Is(err, jetstream.ErrStreamNotFound) && !slices.Contains(gone, "stream "+of)) {
			gone = append(gone, "consumer "+name)
		}
	}
	for _, name := range p.Buckets {
		if _, err := js.Stream(ctx, "KV_"+name); errors.Is(err, jetstream.ErrStreamNotFound) {
			gone = append(gone, "bucket "+name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return &MissingError{Names: gone}
}
