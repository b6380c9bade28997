package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RefusedError says that a change of the topology would lose or strand messages.
type RefusedError struct {
	Stream string
	Reason string
}

// Error names the stream and the reason.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("topology: stream %s is left as it is: %s", e.Stream, e.Reason)
}

// Apply creates what is missing and updates what differs; applied twice, the second changes nothing. It refuses, before
// changing anything, another partition count, another retention or storage, fewer replicas or
// subjects, and smaller bounds. Every refusal is in the error.
func (t Topology) Apply(ctx context.Context, js jetstream.JetStream) error {
	t, err := t.Fill()
	if err != nil {
		return err
	}
	var refused []error
	for _, want := range t.Streams() {
		stream, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", want.Name, err)
		}
		if err := safeChange(stream.CachedInfo().Config, want); err != nil {
			refused = append(refused, err)
		}
	}
	if err := errors.Join(refused...); err != nil {
		return err
	}
	return t.create(ctx, js)
}

func (t Topology) create(ctx context.Context, js jetstream.JetStream) error {
	for _, want := range t.Streams() {
		if _, err := js.CreateOrUpdateStream(ctx, want); err != nil {
			return fmt.Errorf("apply stream %s: %w", want.Name, err)
		}
	}
	for name, consumers := range t.Consumers() {
		for _, want := range consumers {
			if _, err := js.CreateOrUpdateConsumer(ctx, name, want); err != nil {
				return fmt.Errorf("apply consumer %s of stream %s: %w", want.Durable, name, err)
			}
		}
	}
	for _, want := range t.Buckets() {
		if err := applyBucket(ctx, js, want); err != nil {
			return fmt.Errorf("apply bucket %s: %w", want.Bucket, err)
		}
	}
	return nil
}

// applyBucket makes a bucket without roll-ups, which the client library always allows: whoever may write one key could
// clear the whole bucket by a header. Keys are removed by a mark without one.
func applyBucket(ctx context.Context, js jetstream.JetStream, want jetstream.KeyValueConfig) error {
	change, err := planBucket(ctx, js, want)
	if err != nil || (!change.Create && len(change.Fields) == 0) {
		return err
	}
	if _, err := js.CreateOrUpdateKeyValue(ctx, want); err != nil {
		return err //nolint:wrapcheck // by the caller
	}
	bucket, err := js.Stream(ctx, "KV_"+want.Bucket)
	if err != nil {
		return err //nolint:wrapcheck // by the caller
	}
	config := bucket.CachedInfo().Config
	config.AllowRollup = needsRollup(want)
	_, err = js.UpdateStream(ctx, config)
	return err //nolint:wrapcheck // by the caller
}

// needsRollup: the broker insists on roll-ups where it marks the end of entries itself. Whoever may write a lease may
// remove every other one in any case.
func needsRollup(bucket jetstream.KeyValueConfig) bool { return bucket.LimitMarkerTTL > 0 }

// safeChange tells everything that would lose or strand messages, each as a [*RefusedError].
func safeChange(have, want jetstream.StreamConfig) error {
	var refused []error
	refuse := func(unsafe bool, format string, args ...any) {
		if unsafe {
			refused = append(refused, &RefusedError{Stream: want.Name, Reason: fmt.Sprintf(format, args...)})
		}
	}
	refuse(have.Retention != want.Retention, "its retention is %s and would become %s, which drops messages", have.Retention, want.Retention)
	refuse(have.Metadata[partitionKey] != want.Metadata[partitionKey],
		"it was made with %s partitions and would get %s; the number is chosen once, because another one moves every endpoint",
		have.Metadata[partitionKey], want.Metadata[partitionKey])
	refuse(have.Storage != want.Storage, "it stores in %s and would store in %s", have.Storage, want.Storage)
	refuse(have.Discard != want.Discard || have.DiscardNewPerSubject != want.DiscardNewPerSubject,
		"when it is full it does %s (by subject: %t) and would do %s (by subject: %t)",
		have.Discard, have.DiscardNewPerSubject, want.Discard, want.DiscardNewPerSubject)
	refuse(want.Replicas < have.Replicas, "it has %d replicas and would get %d, which makes losing messages easier", have.Replicas, want.Replicas)
	refuse(!covers(want.Subjects, have.Subjects),
		"it takes messages on %q and would take them on %q only; what stands on the others would be stranded", have.Subjects, want.Subjects)
	refuse(bound(want.MaxMsgsPerSubject) < bound(have.MaxMsgsPerSubject),
		"it may hold %d messages a subject and would be cut to %d", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	refuse(bound(want.MaxMsgs) < bound(have.MaxMsgs), "it may hold %d messages and would be cut to %d", have.MaxMsgs, want.MaxMsgs)
	refuse(bound(want.MaxBytes) < bound(have.MaxBytes), "it may hold %d bytes and would be cut to %d", have.MaxBytes, want.MaxBytes)
	refuse(bound(int64(want.MaxAge)) < bound(int64(have.MaxAge)), "it keeps messages for %s and would keep them for %s", have.MaxAge, want.MaxAge)
	return errors.Join(refused...)
}

// bound reads the API's ways to say that there is none.
func bound(n int64) int64 {
	if n <= 0 {
		return 1<<63 - 1
	}
	return n
}

func covers(want, have []string) bool {
	return !slices.ContainsFunc(have, func(subject string) bool { return !slices.Contains(want, subject) })
}

// ErrNoTopology says that the server has no Handfast streams yet.
var ErrNoTopology = errors.New("the NATS server has no Handfast streams; run `handfast topology apply` once with an administrator's credentials")

// LoadTopology reads what was chosen when the topology was applied. Services call it at start.
func LoadTopology(ctx context.Context, js jetstream.JetStream) (Topology, error) {
	stream, err := js.Stream(ctx, Deliveries)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Topology{}, ErrNoTopology
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return Topology{}, ErrNoJetStream
	}
	if err != nil {
		return Topology{}, fmt.Errorf("look up stream %s: %w", Deliveries, err)
	}
	config := stream.CachedInfo().Config
	partitions, err := strconv.Atoi(config.Metadata[partitionKey])
	if err != nil || partitions < 1 {
		return Topology{}, fmt.Errorf("stream %s does not tell its number of partitions (metadata %q): it was not made by `handfast topology apply`", Deliveries, partitionKey)
	}
	return Topology{Partitions: partitions, Replicas: config.Replicas, MaxBytes: max(0, config.MaxBytes)}.Fill()
}
