package stream

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
)

// Names of the streams.
const (
	Events      = "EVENTS"
	Deliveries  = "DELIVERIES"
	Retries     = "RETRIES"
	Backlog     = "BACKLOG"
	DeadLetters = "DEADLETTERS"
	Receipts    = "RECEIPTS"
)

// Names of the key-value buckets.
const (
	EndpointBucket   = "endpoints"
	SigningKeyBucket = "signing-keys"
	IdentityBucket   = "identities"
	DispatcherBucket = "dispatchers"
	AlertBucket      = "alerts"
	SchemaBucket     = "schemas"
)

// Names of the durable consumers that are not one per partition.
const (
	// SignerConsumer reads EVENTS for all signers.
	SignerConsumer = "signer"
	// DueConsumer reads due retries for all signers.
	DueConsumer = "due"
	// PriorityGroup is the group in which dispatchers pull a partition by rank.
	PriorityGroup = "d"
)

// noEndpoint stands in DEADLETTERS for messages that never became an event. Endpoint names cannot begin with "_".
const noEndpoint = "_event"

// noTenant stands there for messages whose subject names no valid tenant.
const noTenant = "_unknown"

// Partition is the share of an endpoint: FNV-1a-32 of its key modulo the number of partitions. The number is chosen
// once, because another one would move every endpoint; it is at least 1.
func Partition(key endpoint.Key, partitions int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key.String()))
	return int(h.Sum32() % uint32(partitions)) //nolint:gosec // 1 to 256
}

// DeliverySubject is where signed requests of an endpoint wait.
func DeliverySubject(key endpoint.Key, partitions int) string {
	return place("deliveries.", key, partitions)
}

// DueSubject is where a schedule of an endpoint fires to.
func DueSubject(key endpoint.Key, partitions int) string {
	return place("retries.due.", key, partitions)
}

// ScheduleSubject is where the one schedule of a delivery stands.
func ScheduleSubject(key endpoint.Key, id delivery.ID, partitions int) string {
	return place("retries.at.", key, partitions) + "." + string(id)
}

// DeadLetterSubject is where the one dead letter of a delivery stands, so that storing it again after a crash, however
// much later, replaces it. For a refused message the endpoint is empty and the id is its own.
func DeadLetterSubject(key endpoint.Key, id string) string {
	if key.Tenant == "" {
		key.Tenant = noTenant
	}
	if key.Name == "" {
		key.Name = noEndpoint
	}
	return "deadletters." + key.Tenant + "." + key.Name + "." + id
}

// BacklogSubject is the queue of an endpoint that must wait.
func BacklogSubject(key endpoint.Key, partitions int) string {
	return place("backlog.", key, partitions)
}

// ReceiptSubject is where an endpoint's receipts stand.
func ReceiptSubject(key endpoint.Key) string { return "receipts." + key.Tenant + "." + key.Name }

// EndpointKey is the bucket key of an endpoint's document, and StatusKey that of what a dispatcher found out about it.
func EndpointKey(key endpoint.Key, partitions int) string { return place("", key, partitions) }

// StatusKey is written by dispatchers, who may not touch documents.
func StatusKey(key endpoint.Key, partitions int) string {
	return place("", key, partitions) + statusSuffix
}

const statusSuffix = ".status"

func place(prefix string, key endpoint.Key, partitions int) string {
	return prefix + strconv.Itoa(Partition(key, partitions)) + "." + key.Tenant + "." + key.Name
}

// parseDeliverySubject reads the endpoint out of `deliveries.<p>.<tenant>.<endpoint>`.
func parseDeliverySubject(subject string) (endpoint.Key, error) {
	parts := strings.Split(subject, ".")
	if len(parts) != 4 || parts[0] != "deliveries" {
		return endpoint.Key{}, fmt.Errorf("subject %q is not deliveries.<partition>.<tenant>.<endpoint>", subject)
	}
	key, err := endpoint.ParseKey(parts[2] + "/" + parts[3])
	if err != nil {
		return endpoint.Key{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	return key, nil
}

// ParseEndpointKey reads a bucket key `<p>.<tenant>.<endpoint>`; status tells which of the two records it is.
func ParseEndpointKey(bucketKey string) (key endpoint.Key, status bool, err error) {
	// By the number of parts and not by the end alone: an endpoint may be called "status".
	parts := strings.Split(bucketKey, ".")
	status = len(parts) == 4 && "."+parts[3] == statusSuffix
	if len(parts) != 3 && !status {
		return endpoint.Key{}, false, fmt.Errorf("bucket key %q is not <partition>.<tenant>.<endpoint>", bucketKey)
	}
	key, err = endpoint.ParseKey(parts[1] + "/" + parts[2])
	if err != nil {
		return endpoint.Key{}, false, fmt.Errorf("bucket key %q: %w", bucketKey, err)
	}
	return key, status, nil
}

// PartitionConsumer is the name of a partition's durable consumer on DELIVERIES.
func PartitionConsumer(p int) string { return fmt.Sprintf("p%03d", p) }
