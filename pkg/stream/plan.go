package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Change is what [Topology.Apply] would do with one stream, consumer or bucket.
type Change struct {
	// Kind is "stream", "consumer" or "bucket".
	Kind string
	// Name is that of the stream or bucket; of a consumer, the stream's and its own with a slash between.
	Name string
	// Create tells that it does not exist yet.
	Create bool
	// Fields are what differs, in the names of the NATS API, sorted; none means that nothing changes.
	Fields []FieldChange
}

// FieldChange is one setting that would become another, both written as JSON; Old is empty when it was not set.
type FieldChange struct {
	Name, Old, New string
}

// Plan compares what is on the server with what Apply would make of it, and changes nothing. The changes are complete
// and in a fixed order, the unchanged among them. The error joins a [*RefusedError] for everything that Apply would
// refuse; the changes are valid beside it. Another error means that the server could not be asked.
func (t Topology) Plan(ctx context.Context, js jetstream.JetStream) ([]Change, error) {
	t, err := t.Fill()
	if err != nil {
		return nil, err
	}
	var changes []Change
	var refused []error
	for _, want := range t.Streams() {
		change, err := planStream(ctx, js, want)
		if refusal := (*RefusedError)(nil); errors.As(err, &refusal) {
			refused = append(refused, err)
		} else if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	consumers := t.Consumers()
	for _, name := range slices.Sorted(maps.Keys(consumers)) {
		more, err := planConsumers(ctx, js, name, consumers[name])
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	for _, want := range t.Buckets() {
		change, err := planBucket(ctx, js, want)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	return changes, errors.Join(refused...)
}

func planStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (Change, error) {
	change := Change{Kind: "stream", Name: want.Name}
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		change.Create = true
		return change, nil
	}
	if err != nil {
		return change, fmt.Errorf("look up stream %s: %w", want.Name, err)
	}
	have := stream.CachedInfo().Config
	if change.Fields, err = differences(have, want); err != nil {
		return change, err
	}
	return change, safeChange(have, want)
}

// planConsumers lists a stream's consumers in one go: asking for each of up to 256 would take as many round trips.
func planConsumers(ctx context.Context, js jetstream.JetStream, name string, wanted []jetstream.ConsumerConfig) ([]Change, error) {
	have := map[string]jetstream.ConsumerConfig{}
	stream, err := js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
	case err != nil:
		return nil, fmt.Errorf("look up stream %s: %w", name, err)
	default:
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			have[info.Name] = info.Config
		}
		if err := list.Err(); err != nil {
			return nil, fmt.Errorf("list consumers of stream %s: %w", name, err)
		}
	}
	changes := make([]Change, 0, len(wanted))
	for _, want := range wanted {
		change := Change{Kind: "consumer", Name: name + "/" + want.Durable}
		existing, ok := have[want.Durable]
		change.Create = !ok
		if ok {
			want.Name = existing.Name // the server's copy of the durable name
			if change.Fields, err = differences(existing, want); err != nil {
				return nil, err
			}
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// planBucket compares what the key-value API shows, and whether the stream below it allows roll-ups; the rest of that
// belongs to the client library.
func planBucket(ctx context.Context, js jetstream.JetStream, want jetstream.KeyValueConfig) (Change, error) {
	change := Change{Kind: "bucket", Name: want.Bucket}
	kv, err := js.KeyValue(ctx, want.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		change.Create = true
		return change, nil
	}
	if err != nil {
		return change, fmt.Errorf("look up bucket %s: %w", want.Bucket, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return change, fmt.Errorf("look up bucket %s: %w", want.Bucket, err)
	}
	below, err := js.Stream(ctx, "KV_"+want.Bucket)
	if err != nil {
		return change, fmt.Errorf("look up bucket %s: %w", want.Bucket, err)
	}
	view := func(c jetstream.KeyValueConfig, rollup bool) map[string]any {
		return map[string]any{
			"description": c.Description, "max_history_per_key": c.History, "num_replicas": max(1, c.Replicas),
			"storage": c.Storage.String(), "max_age": c.TTL.String(), "limit_marker_ttl": c.LimitMarkerTTL.String(), "max_bytes": max(0, c.MaxBytes), "republish": c.RePublish, "rollup": rollup,
		}
	}
	change.Fields, err = differences(view(status.Config(), below.CachedInfo().Config.AllowRollup), view(want, needsRollup(want)))
	return change, err
}

// differences compares two configurations as the API writes them. What the server adds by itself is no difference.
func differences(have, want any) ([]FieldChange, error) {
	old, err := fields(have)
	if err != nil {
		return nil, err
	}
	next, err := fields(want)
	if err != nil {
		return nil, err
	}
	for name := range old {
		if _, ok := next[name]; !ok && defaulted(name) {
			delete(old, name)
		}
	}
	names := maps.Clone(old)
	maps.Copy(names, next)
	var changes []FieldChange
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if old[name] != next[name] {
			changes = append(changes, FieldChange{Name: name, Old: old[name], New: next[name]})
		}
	}
	return changes, nil
}

// defaulted names the settings that a server fills in when they are left open.
func defaulted(name string) bool {
	return slices.Contains([]string{"num_replicas", "compression", "allow_rollup_hdrs", "max_waiting", "max_ack_pending", "replay_policy", "deliver_policy", "max_deliver", "duplicate_window", "ack_wait"}, name)
}

// fields flattens one level of metadata and leaves out what is zero, so that "not set" and "set to nothing" are the same.
func fields(config any) (map[string]string, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("compare configurations: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("compare configurations: %w", err)
	}
	out := map[string]string{}
	for name, value := range all {
		if name == "metadata" {
			var metadata map[string]string
			if err := json.Unmarshal(value, &metadata); err != nil {
				return nil, fmt.Errorf("compare metadata: %w", err)
			}
			for key, value := range metadata {
				if !strings.HasPrefix(key, "_nats.") { // the server's own
					out["metadata."+key] = value
				}
			}
			continue
		}
		switch string(value) {
		case "0", "false", `""`, "null", "{}", "[]", `"0s"`:
		default:
			out[name] = readable(name, string(value))
		}
	}
	return out, nil
}

// readable writes the durations of the API, which are nanoseconds, as people do.
func readable(name, value string) string {
	if !slices.Contains([]string{"max_age", "duplicate_window", "ack_wait", "subject_delete_marker_ttl"}, name) {
		return value
	}
	var nanoseconds int64
	if json.Unmarshal([]byte(value), &nanoseconds) != nil {
		return value
	}
	return time.Duration(nanoseconds).String()
}
