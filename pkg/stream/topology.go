package stream

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Fixed terms of the topology.
const (
	// DefaultPartitions is a good number for up to about thirty dispatchers; measured cost grows slowly with it.
	DefaultPartitions = 32
	// MaxPartitions keeps idle pulls and consumers bounded.
	MaxPartitions = 256
	// EventAge is how long EVENTS keeps the payload of record.
	EventAge = 7 * 24 * time.Hour
	// Horizon is how long after its event a retry may rely on EVENTS: a day less than EventAge, so that an event does not
	// age out between schedule and signature. Later ones take the payload along.
	Horizon = EventAge - 24*time.Hour
	// AckWait is how long the broker leaves a delivery with one dispatcher without hearing from it.
	AckWait = time.Minute

	recordAge       = 30 * 24 * time.Hour
	eventWindow     = 2 * time.Minute
	deliveryWindow  = 5 * time.Minute
	gib             = 1 << 30
	partitionKey    = "handfast.partitions"
	backlogPerQueue = 10_000
	markerLife      = time.Minute // of the mark of a lease that has ended
)

// Topology is everything that is chosen when Handfast is set up on a NATS server. The zero value stands for the defaults:
// [Topology.Fill] and [Topology.Apply] put them in. Everything else wants a topology that came from Fill or
// [LoadTopology].
type Topology struct {
	// Partitions is chosen once. Default 32, at most 256.
	Partitions int
	// Replicas of every stream and bucket. Default 1; 3 in production.
	Replicas int
	// MaxBytes bounds each of EVENTS, DELIVERIES, BACKLOG, DEADLETTERS and RECEIPTS. Default 1 GiB. RETRIES has no
	// bound, because a bound would delete schedules silently.
	MaxBytes int64
}

// Fill gives unset fields their defaults and checks the rest; the error tells everything that is wrong.
func (t Topology) Fill() (Topology, error) {
	if t.Partitions == 0 {
		t.Partitions = DefaultPartitions
	}
	if t.Replicas == 0 {
		t.Replicas = 1
	}
	if t.MaxBytes == 0 {
		t.MaxBytes = gib
	}
	var errs []error
	if t.Partitions < 1 || t.Partitions > MaxPartitions {
		errs = append(errs, fmt.Errorf("topology: %d partitions; choose 1 to %d", t.Partitions, MaxPartitions))
	}
	if t.Replicas != 1 && t.Replicas != 3 && t.Replicas != 5 {
		errs = append(errs, fmt.Errorf("topology: %d replicas; NATS keeps a majority with 1, 3 or 5", t.Replicas))
	}
	if t.MaxBytes < 1<<20 {
		errs = append(errs, fmt.Errorf("topology: %d bytes a stream; at least 1 MiB is needed to hold one message of each kind", t.MaxBytes))
	}
	return t, errors.Join(errs...)
}

// Streams is the table of DESIGN.md section 3.
func (t Topology) Streams() []jetstream.StreamConfig {
	base := func(name, about string, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Description: about, Subjects: subjects, Storage: jetstream.FileStorage,
			Replicas: t.Replicas, MaxBytes: t.MaxBytes, AllowDirect: true, MaxMsgs: -1, MaxMsgsPerSubject: -1,
			MaxMsgSize: -1, MaxConsumers: -1, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
			Duplicates: eventWindow,
		}
	}
	events := base(Events, "The payload of record: every published CloudEvent", "events.>")
	events.Discard, events.MaxAge = jetstream.DiscardNew, EventAge

	deliveries := base(Deliveries, "Signed requests that wait for a connection", "deliveries.*.*.*")
	deliveries.Retention, deliveries.Discard = jetstream.WorkQueuePolicy, jetstream.DiscardNew
	deliveries.Duplicates, deliveries.MaxConsumers = deliveryWindow, MaxPartitions
	deliveries.Metadata = map[string]string{partitionKey: strconv.Itoa(t.Partitions)}

	retries := base(Retries, "Deliveries that wait for a time, as small records", "retries.at.*.*.*.*", "retries.due.*.*.*")
	retries.Retention, retries.MaxBytes = jetstream.WorkQueuePolicy, -1
	retries.AllowMsgSchedules, retries.AllowMsgTTL, retries.Duplicates = true, true, deliveryWindow

	backlog := base(Backlog, "Deliveries that wait for their endpoint, a queue per subject", "backlog.*.*.*")
	backlog.Discard, backlog.DiscardNewPerSubject, backlog.MaxMsgsPerSubject = jetstream.DiscardNew, true, backlogPerQueue

	dead := base(DeadLetters, "Whole requests that will not be tried again, and why", "deadletters.*.*.*")
	dead.MaxAge, dead.MaxMsgsPerSubject = recordAge, 1

	receipts := base(Receipts, "What happened at every attempt", "receipts.*.*")
	receipts.MaxAge = recordAge
	return []jetstream.StreamConfig{events, deliveries, retries, backlog, dead, receipts}
}

// Buckets is the table of key-value buckets.
func (t Topology) Buckets() []jetstream.KeyValueConfig {
	bucket := func(name, about string) jetstream.KeyValueConfig {
		return jetstream.KeyValueConfig{
			Bucket: name, Description: about, History: 1, Storage: jetstream.FileStorage, Replicas: t.Replicas,
			// Followers are told by this that there is something to read.
			RePublish: &jetstream.RePublish{Source: "$KV." + name + ".>", Destination: "changes." + name + ".>", HeadersOnly: true},
		}
	}
	dispatchers := bucket(DispatcherBucket, "Which dispatchers live: leases that expire")
	dispatchers.LimitMarkerTTL = markerLife
	alerts := bucket(AlertBucket, "Which alerts have been sent, so that each is sent once") // without an end: certificates last for years
	alerts.RePublish = nil                                                                  // nobody follows them
	return []jetstream.KeyValueConfig{
		bucket(EndpointBucket, "Endpoint documents, and what dispatchers found out about them"),
		bucket(SigningKeyBucket, "Signing keys, sealed; for signers only"),
		bucket(IdentityBucket, "Client identities, sealed; for dispatchers only"),
		bucket(SchemaBucket, "JSON Schemas of events, by type and version"),
		dispatchers, alerts,
	}
}

// Consumers is the table of durable consumers by stream. MaxDeliver is unlimited because retries are ours.
func (t Topology) Consumers() map[string][]jetstream.ConsumerConfig {
	shared := func(name, filter, about string) jetstream.ConsumerConfig {
		return jetstream.ConsumerConfig{
			Durable: name, Description: about, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: AckWait, MaxDeliver: -1, MaxAckPending: 4096, Replicas: 0,
		}
	}
	partitions := make([]jetstream.ConsumerConfig, t.Partitions)
	for p := range partitions {
		c := shared(PartitionConsumer(p), fmt.Sprintf("deliveries.%d.*.*", p), "One share of the endpoints; the lowest rank is served first")
		c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyPrioritized, []string{PriorityGroup}
		c.MaxAckPending = 16_384 // the dispatcher's own slots are the bound; this one must not be met first
		partitions[p] = c
	}
	return map[string][]jetstream.ConsumerConfig{
		Events:     {shared(SignerConsumer, "events.>", "All signers")},
		Retries:    {shared(DueConsumer, "retries.due.*.*.*", "All signers")},
		Deliveries: partitions,
	}
}
