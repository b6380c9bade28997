package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// TestPartitionsAreForLife: the values come from another implementation of FNV-1a-32. Others would move every endpoint.
func TestPartitionsAreForLife(t *testing.T) {
	t.Parallel()
	for _, each := range []struct {
		key     string
		of4     int
		of32    int
		of256   int
		message string
	}{
		{"acme/orders", 1, 17, 241, "2114551281"},
		{"acme/invoices", 0, 16, 112, "3407020656"},
		{"a/b", 1, 1, 193, "982414785"},
		{"b/a", 1, 13, 77, "2321839693"},
		{"acme-2/orders", 0, 24, 120, "2938278264"},
		{"acme/status", 2, 2, 162, "3949802402"},
	} {
		key, err := endpoint.ParseKey(each.key)
		require.NoError(t, err)
		assert.Equal(t, each.of4, stream.Partition(key, 4), each.message)
		assert.Equal(t, each.of32, stream.Partition(key, 32), each.message)
		assert.Equal(t, each.of256, stream.Partition(key, 256), each.message)
		assert.Zero(t, stream.Partition(key, 1))
	}
}

func TestPartitionsAreEven(t *testing.T) {
	t.Parallel()
	const endpoints, partitions = 32_000, 32
	var count [partitions]int
	for i := range endpoints {
		count[stream.Partition(endpoint.Key{Tenant: fmt.Sprintf("tenant-%d", i%50), Name: fmt.Sprintf("endpoint-%d", i)}, partitions)]++
	}
	for p, n := range count {
		assert.InDelta(t, endpoints/partitions, n, 200, "partition %d", p)
	}
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	key := orders()
	for want, got := range map[string]string{
		"deliveries.17.acme.orders":         stream.DeliverySubject(key, 32),
		"retries.due.17.acme.orders":        stream.DueSubject(key, 32),
		"retries.at.17.acme.orders.msg_1":   stream.ScheduleSubject(key, "msg_1", 32),
		"backlog.17.acme.orders":            stream.BacklogSubject(key, 32),
		"receipts.acme.orders":              stream.ReceiptSubject(key),
		"deadletters.acme.orders.msg_1":     stream.DeadLetterSubject(key, "msg_1"),
		"deadletters.acme._event.event-7":   stream.DeadLetterSubject(endpoint.Key{Tenant: "acme"}, "event-7"),
		"deadletters._unknown._event.seven": stream.DeadLetterSubject(endpoint.Key{}, "seven"),
		"deadletters._unknown.orders.msg_1": stream.DeadLetterSubject(endpoint.Key{Name: "orders"}, "msg_1"),
		"17.acme.orders":                    stream.EndpointKey(key, 32),
		"17.acme.orders.status":             stream.StatusKey(key, 32),
		"p000":                              stream.PartitionConsumer(0),
		"p255":                              stream.PartitionConsumer(255),
		"deliveries.241.acme.orders":        stream.DeliverySubject(key, 256),
		"retries.due.2.acme.status":         stream.DueSubject(endpoint.Key{Tenant: "acme", Name: "status"}, 32),
		"2.acme.status.status":              stream.StatusKey(endpoint.Key{Tenant: "acme", Name: "status"}, 32),
		"retries.at.2.acme.status.msg_1":    stream.ScheduleSubject(endpoint.Key{Tenant: "acme", Name: "status"}, "msg_1", 32),
		"deadletters.acme.status.status":    stream.DeadLetterSubject(endpoint.Key{Tenant: "acme", Name: "status"}, "status"),
		"receipts.acme.status":              stream.ReceiptSubject(endpoint.Key{Tenant: "acme", Name: "status"}),
		"backlog.2.acme.status":             stream.BacklogSubject(endpoint.Key{Tenant: "acme", Name: "status"}, 32),
		"deliveries.2.acme.status":          stream.DeliverySubject(endpoint.Key{Tenant: "acme", Name: "status"}, 32),
		"2.acme.status":                     stream.EndpointKey(endpoint.Key{Tenant: "acme", Name: "status"}, 32),
	} {
		assert.Equal(t, want, got)
	}
}

// TestEverySubjectHasOneStream holds the functions against the table: what is published is taken by one stream, and what
// is to be read by one consumer.
func TestEverySubjectHasOneStream(t *testing.T) {
	t.Parallel()
	topology, err := stream.Topology{Partitions: 32}.Fill()
	require.NoError(t, err)
	key := orders()
	for subject, each := range map[string]struct{ stream, consumer string }{
		"events.acme.com.acme.order.created":          {stream.Events, stream.SignerConsumer},
		stream.DeliverySubject(key, 32):               {stream.Deliveries, "p017"},
		stream.DueSubject(key, 32):                    {stream.Retries, stream.DueConsumer},
		stream.ScheduleSubject(key, "x", 32):          {stream.Retries, ""},
		stream.BacklogSubject(key, 32):                {stream.Backlog, ""},
		stream.ReceiptSubject(key):                    {stream.Receipts, ""},
		stream.DeadLetterSubject(key, "x"):            {stream.DeadLetters, ""},
		stream.DeadLetterSubject(endpoint.Key{}, "x"): {stream.DeadLetters, ""},
	} {
		var streams, consumers []string
		for _, config := range topology.Streams() {
			for _, pattern := range config.Subjects {
				if matches(pattern, subject) {
					streams = append(streams, config.Name)
				}
			}
		}
		assert.Equal(t, []string{each.stream}, streams, subject)
		for _, configs := range topology.Consumers() {
			for _, config := range configs {
				if matches(config.FilterSubject, subject) {
					consumers = append(consumers, config.Durable)
				}
			}
		}
		if each.consumer == "" {
			assert.Empty(t, consumers, "%s is read by nobody as a queue", subject)
		} else {
			assert.Equal(t, []string{each.consumer}, consumers, subject)
		}
	}
}

// matches is NATS's own rule for * and >.
func matches(pattern, subject string) bool {
	patterns, tokens := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, p := range patterns {
		if p == ">" {
			return len(tokens) > i
		}
		if i >= len(tokens) || (p != "*" && p != tokens[i]) {
			return false
		}
	}
	return len(patterns) == len(tokens)
}

func TestBucketKeysComeBack(t *testing.T) {
	t.Parallel()
	for _, key := range []endpoint.Key{orders(), {Tenant: "acme", Name: "status"}, {Tenant: "status", Name: "status"}} {
		got, status, err := stream.ParseEndpointKey(stream.EndpointKey(key, 32))
		require.NoError(t, err)
		assert.Equal(t, key, got)
		assert.False(t, status, "an endpoint called status is an endpoint")
		got, status, err = stream.ParseEndpointKey(stream.StatusKey(key, 32))
		require.NoError(t, err)
		assert.Equal(t, key, got)
		assert.True(t, status)
	}
	for _, bad := range []string{"", "1", "1.acme", "1.acme.orders.state", "1.acme.orders.status.status", "1.acme..status", "1.Acme.orders", "1.acme._event"} {
		_, _, err := stream.ParseEndpointKey(bad)
		require.ErrorContains(t, err, "bucket key", bad)
	}
}
