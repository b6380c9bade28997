package operator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// Stored is an endpoint as it stands in the bucket.
type Stored struct {
	endpoint.Registered

	// Changed is when its document was stored.
	Changed time.Time
	// Waiting is how many of its deliveries stand in BACKLOG.
	Waiting uint64
	// Retrying is how many stand in RETRIES, each for a time of its own; nil when RETRIES holds too much to be counted.
	Retrying *uint64
}

// State is the endpoint's state in one word: "active", "held", "pending" (its receiver has not agreed yet),
// "paused" or "disabled".
func (s Stored) State() string {
	switch {
	case s.Disabled():
		return "disabled"
	case s.Paused:
		return "paused"
	case !s.Activated():
		return "pending"
	case s.Status.Held != nil:
		return "held"
	}
	return "active"
}

// MarshalJSON writes the document, its revision and status, and what Stored adds.
func (s Stored) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Endpoint *endpoint.Endpoint `json:"endpoint"`
		Revision uint64             `json:"revision"`
		Changed  time.Time          `json:"changed"`
		State    string             `json:"state"`
		Status   endpoint.Status    `json:"status"`
		Waiting  uint64             `json:"waiting"`
	}{s.Endpoint, s.Revision, s.Changed, s.State(), s.Status, s.Waiting})
}

// Endpoints returns the endpoints of a tenant, or of all when it is empty, sorted by key. The error may come with a
// result: then it tells about stored documents that cannot be read.
func (o *Operator) Endpoints(ctx context.Context, tenant string) ([]Stored, error) {
	kv, err := o.documents(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := readAll(ctx, kv, "*."+orAny(tenant)+".>")
	if err != nil {
		return nil, err
	}
	count, err := o.queues(ctx, endpoint.Key{Tenant: tenant})
	if err != nil {
		return nil, err
	}
	documents, problems := make(map[endpoint.Key]Stored), []error(nil)
	statuses := make(map[endpoint.Key]endpoint.Status)
	for _, entry := range entries {
		key, isStatus, err := stream.ParseEndpointKey(entry.Key())
		switch {
		case err != nil:
		case isStatus:
			statuses[key], err = parseStatus(key, entry)
		default:
			documents[key], err = parseStored(key, entry)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	all := make([]Stored, 0, len(documents))
	for _, key := range slices.SortedFunc(maps.Keys(documents), compareKeys) {
		if s := documents[key]; s.Endpoint != nil {
			s.Status = statuses[key]
			all = append(all, count.of(s))
		}
	}
	return all, errors.Join(problems...)
}

// UnreadableError says that a stored document breaks today's rules. Applying a good one mends it.
type UnreadableError struct {
	Endpoint endpoint.Key
	Revision uint64
	Err      error
}

// Error says why, and what to do.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("the stored document of %s cannot be read; apply a good one: %s", e.Endpoint, e.Err)
}

// Unwrap gives the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

func parseStored(key endpoint.Key, entry jetstream.KeyValueEntry) (Stored, error) {
	e, err := endpoint.Restore(entry.Value())
	if err != nil {
		return Stored{}, &UnreadableError{Endpoint: key, Revision: entry.Revision(), Err: err}
	}
	return Stored{Registered: endpoint.Registered{Endpoint: e, Revision: entry.Revision()}, Changed: entry.Created().UTC()}, nil
}

func parseStatus(key endpoint.Key, entry jetstream.KeyValueEntry) (endpoint.Status, error) {
	var status endpoint.Status
	if err := json.Unmarshal(entry.Value(), &status); err != nil {
		return endpoint.Status{}, fmt.Errorf("the status of %s cannot be read: %w", key, err)
	}
	return status, nil
}

func readAll(ctx context.Context, kv jetstream.KeyValue, keys string) ([]jetstream.KeyValueEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*requestTime)
	defer cancel()
	watcher, err := kv.Watch(ctx, keys, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", kv.Bucket(), explain(err))
	}
	defer watcher.Stop() //nolint:errcheck // it ends with the connection in any case
	var all []jetstream.KeyValueEntry
	for {
		select {
		case entry, open := <-watcher.Updates():
			if !open {
				return nil, fmt.Errorf("read bucket %s: the connection was lost", kv.Bucket())
			}
			if entry == nil {
				return all, nil
			}
			all = append(all, entry)
		case <-ctx.Done():
			return nil, fmt.Errorf("read bucket %s: %w", kv.Bucket(), explain(ctx.Err()))
		}
	}
}

// Endpoint returns one endpoint, or a [NotFoundError] that names those that exist.
func (o *Operator) Endpoint(ctx context.Context, key endpoint.Key) (Stored, error) {
	kv, err := o.documents(ctx)
	if err != nil {
		return Stored{}, err
	}
	held, found, err := o.read(ctx, kv, key)
	if err != nil {
		return Stored{}, err
	}
	if !found {
		return Stored{}, o.missing(ctx, key)
	}
	count, err := o.queues(ctx, key)
	if err != nil {
		return Stored{}, err
	}
	return count.of(held), nil
}

func (o *Operator) read(ctx context.Context, kv jetstream.KeyValue, key endpoint.Key) (held Stored, found bool, err error) {
	entry, err := get(ctx, kv, stream.EndpointKey(key, o.topology.Partitions))
	if err != nil || entry == nil {
		return Stored{}, false, err
	}
	if held, err = parseStored(key, entry); err != nil {
		return Stored{}, false, err
	}
	status, err := get(ctx, kv, stream.StatusKey(key, o.topology.Partitions))
	if err != nil {
		return Stored{}, false, err
	}
	if status != nil {
		held.Status, err = parseStatus(key, status)
	}
	return held, err == nil, err
}

func get(ctx context.Context, kv jetstream.KeyValue, key string) (jetstream.KeyValueEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil //nolint:nilnil // absence is no error here
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of bucket %s: %w", key, kv.Bucket(), explain(err))
	}
	return entry, nil
}

func compareKeys(a, b endpoint.Key) int {
	return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Name, b.Name))
}
