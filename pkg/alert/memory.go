package alert

import (
	"context"
	"errors"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// What a [Memory] answers. An implementation wraps them, so that errors.Is finds them.
var (
	// ErrNotFound tells that there is no entry under a key.
	ErrNotFound = errors.New("the memory of alerts has no such entry")
	// ErrExists tells that somebody else was first: the entry exists, or has another revision by now.
	ErrExists = errors.New("the memory of alerts has been written by somebody else")
)

// Memory remembers what has been told, for all desks of a deployment and over their restarts: a bucket `alerts` with
// compare-and-set. Keys are NATS KV keys. The bucket must not throw entries away as long as certificates live, and
// needs no history. It holds one small entry per endpoint, identity and authority, one per root of an endpoint's trust,
// and up to four per rotation.
type Memory interface {
	// Get returns an entry with its revision, or an error that matches [ErrNotFound].
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Create writes a new entry, or returns an error that matches [ErrExists].
	Create(ctx context.Context, key string, value []byte) error
	// Update replaces the entry that has the revision last, or returns an error that matches [ErrExists].
	Update(ctx context.Context, key string, value []byte, last uint64) error
}

// Publisher publishes one operational event for the tenant [Tenant] and returns when it is stored. A repeated id of the
// same source must be allowed; a stream that drops it is welcome.
type Publisher interface {
	Publish(ctx context.Context, event cloudevents.Event) error
}

// Tenant is the tenant under which alerts are published: events.handfast.<type>.
const Tenant = "handfast"

// Sender is what [Through] publishes with. The Publisher of pkg/event is one.
type Sender interface {
	Publish(ctx context.Context, tenant string, event cloudevents.Event) (sequence uint64, duplicate bool, err error)
}

// Through makes a Publisher of a sender that wants a tenant.
func Through(sender Sender) Publisher { return through{sender} }

type through struct{ sender Sender }

// Publish implements [Publisher].
func (t through) Publish(ctx context.Context, event cloudevents.Event) error {
	_, _, err := t.sender.Publish(ctx, Tenant, event)
	return err
}

// Keys of the memory. A name that is no NATS token is replaced by its hash, so that it cannot reach another entry.

func certificateKey(s slot) string {
	key := "certificate." + s.kind.String() + "." + tokens(s.kind, s.subject)
	if s.root != "" {
		key += "." + s.root
	}
	return key
}

func endpointKey(subject string) string { return "endpoint." + tokens(Server, subject) }

func rotationKey(id string) string { return "rotation." + id }

func tokens(kind Kind, subject string) string {
	if kind.ofEndpoint() { // its two parts have been checked
		return strings.Replace(subject, "/", ".", 1)
	}
	for i := range len(subject) {
		c := subject[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "=" + hash(subject)
		}
	}
	return subject
}
