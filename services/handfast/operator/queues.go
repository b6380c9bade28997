package operator

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// countable is how many messages RETRIES may hold to be counted by endpoint. Each has a subject of its own, and the
// broker answers with all of them: about 100 bytes each, and one answer has room for 100,000.
const countable = 50_000

// queues is how much waits, by endpoint.
type queues struct {
	backlog, retries map[endpoint.Key]uint64
	// counted tells that retries was read.
	counted bool
}

// of adds to an endpoint what waits for it.
func (q queues) of(s Stored) Stored {
	key := s.Key()
	s.Waiting = q.backlog[key]
	if q.counted {
		n := q.retries[key]
		s.Retrying = &n
	}
	return s
}

// queues counts what waits for one endpoint, for those of a tenant, or for all: one request to each stream.
func (o *Operator) queues(ctx context.Context, key endpoint.Key) (queues, error) {
	filter := ".*." + orAny(key.Tenant) + "." + orAny(key.Name)
	backlog, err := o.stream(ctx, stream.Backlog)
	if err != nil {
		return queues{}, err
	}
	q := queues{}
	if q.backlog, err = count(ctx, backlog, "backlog"+filter, 1); err != nil {
		return queues{}, err
	}
	retries, err := o.stream(ctx, stream.Retries)
	if err != nil {
		return queues{}, err
	}
	if q.counted = retries.CachedInfo().State.Msgs <= countable; q.counted {
		q.retries, err = count(ctx, retries, "retries.at"+filter+".*", 2)
	}
	return q, err
}

// count adds up what stands under the filter. The endpoint's key begins after as many parts of a subject as before
// says, and the partition.
func count(ctx context.Context, s jetstream.Stream, filter string, before int) (map[endpoint.Key]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("count what waits in %s: %w", s.CachedInfo().Config.Name, explain(err))
	}
	counts := make(map[endpoint.Key]uint64)
	for subject, n := range info.State.Subjects {
		if parts := strings.Split(subject, "."); len(parts) >= before+3 {
			counts[endpoint.Key{Tenant: parts[before+1], Name: parts[before+2]}] += n
		}
	}
	return counts, nil
}
