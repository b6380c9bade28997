package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// overdue is how late a schedule must be before the sweeper takes it for stuck. One that fires is purged in the same
// step, so a late one that is still there was held up.
const overdue = time.Minute

// Sweep publishes the overdue schedules of a partition again. A store that is full at the moment a schedule is due
// holds it back silently and for ever; publishing it again is what sets it free. It returns how many it published.
func (t Topology) Sweep(ctx context.Context, retries jetstream.Stream, js jetstream.JetStream, partition int, now time.Time) (int, error) {
	filter := "retries.at." + strconv.Itoa(partition) + ".>"
	freed := 0
	// What is published again stands at the end of the stream until it fires. The scan must not meet it there, or it
	// would chase its own tail.
	end := uint64(math.MaxUint64)
	for next := uint64(1); ; {
		msg, err := GetMsg(ctx, retries, next, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return freed, nil
		}
		if err != nil {
			return freed, fmt.Errorf("read schedules of partition %d: %w", partition, err)
		}
		if msg.Sequence >= end {
			return freed, nil
		}
		next = msg.Sequence + 1
		at, err := parseScheduleAt(msg.Header.Get(scheduleHeader))
		if err != nil || now.Sub(at) <= overdue {
			continue // not ours to judge, or not late
		}
		stored, err := again(ctx, js, msg)
		if err != nil {
			return freed, err
		}
		if stored > 0 {
			end = min(end, stored)
			freed++
		}
	}
}

// again replaces exactly the schedule that was read, and returns the sequence of the new one: 0 when the old one has fired
// or was replaced meanwhile, which leaves it alone.
func again(ctx context.Context, js jetstream.JetStream, msg *jetstream.RawStreamMsg) (uint64, error) {
	header := nats.Header{
		scheduleHeader: msg.Header[scheduleHeader], targetHeader: msg.Header[targetHeader],
	}
	if trace := msg.Header[traceHeader]; trace != nil {
		header[traceHeader] = trace
	}
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: msg.Subject, Header: header, Data: msg.Data},
		jetstream.WithExpectLastSequencePerSubject(msg.Sequence))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("publish schedule %s again: %w", msg.Subject, err)
	}
	return ack.Sequence, nil
}

// Scheduled reports whether a schedule of this delivery stands in RETRIES, and for which attempt. A dispatcher asks
// before it repeats a delivery that the broker has handed out twice.
func (t Topology) Scheduled(ctx context.Context, retries jetstream.Stream, subject string) (data []byte, found bool, err error) {
	msg, err := retries.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look for schedule %s: %w", subject, err)
	}
	return msg.Data, true, nil
}
