package stream

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/delivery"
)

// Headers of message schedules (NATS ADR-51).
const (
	scheduleHeader = "Nats-Schedule"
	targetHeader   = "Nats-Schedule-Target"
)

// ScheduleMessage makes the schedule that brings a retry back to the signers at a time. The message id makes a
// repetition after a crash harmless: there is one for each attempt and signing.
func (t Topology) ScheduleMessage(r delivery.Retry, at time.Time, traceparent string) (msg *nats.Msg, id string, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, "", fmt.Errorf("write retry record: %w", err)
	}
	due := r.Due()
	msg = &nats.Msg{
		Subject: ScheduleSubject(due.Endpoint, due.ID, t.Partitions),
		Header: nats.Header{
			scheduleHeader: {scheduleAt(at)},
			targetHeader:   {DueSubject(due.Endpoint, t.Partitions)},
		},
		Data: data,
	}
	if traceparent != "" {
		msg.Header[traceHeader] = []string{traceparent}
	}
	return msg, string(due.ID) + "." + strconv.Itoa(r.Attempt) + "." + strconv.Itoa(r.Resigned), nil
}

// scheduleAt writes the time with nanoseconds. The client library's helper cuts to seconds and so fires early.
func scheduleAt(at time.Time) string { return "@at " + at.UTC().Format(time.RFC3339Nano) }

// parseScheduleAt reads it back, for the sweeper.
func parseScheduleAt(value string) (time.Time, error) {
	const prefix = "@at "
	if len(value) <= len(prefix) || value[:len(prefix)] != prefix {
		return time.Time{}, fmt.Errorf("schedule %q is not an @at", value)
	}
	at, err := time.Parse(time.RFC3339Nano, value[len(prefix):])
	if err != nil {
		return time.Time{}, fmt.Errorf("schedule %q: %w", value, err)
	}
	return at, nil
}
