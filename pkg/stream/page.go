package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pageMessages and pageBytes bound one answer of the broker, and so what is in memory at a time.
	pageMessages = 256
	pageBytes    = 4 << 20
	// pageTime bounds the wait for one.
	pageTime = 5 * time.Second
)

// errNoAnswer says that nobody serves the bucket at this moment: it is gone, or the broker is on its way up.
var errNoAnswer = errors.New("the broker does not serve the bucket; was `handfast topology apply` run?")

// reader reads a bucket by direct get, many entries at a time. It needs no consumer on the server. Consumers of a service's
// own are out of the question: whoever may create one names the subject to which the server then writes.
type reader struct {
	nc     *nats.Conn
	bucket string
}

// page is some entries in the order in which they were written.
type page struct {
	entries []Entry
	// more tells that others follow.
	more bool
}

// read gets the entries that were written at a revision or later and whose key matches the filter. A deletion is one, too.
func (r reader) read(ctx context.Context, from uint64, filter string) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	request, err := json.Marshal(map[string]any{
		"seq": from, "next_by_subj": r.prefix() + filter, "batch": pageMessages, "max_bytes": pageBytes,
	})
	if err != nil {
		return page{}, fmt.Errorf("read bucket %s: %w", r.bucket, err)
	}
	// With a channel, because everything else in the client library takes an entry with certain headers for a refusal.
	answers := make(chan *nats.Msg, pageMessages+1)
	inbox := r.nc.NewInbox()
	sub, err := r.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return page{}, fmt.Errorf("read bucket %s: %w", r.bucket, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // it ends with the connection in any case
	if err := r.nc.PublishRequest("$JS.API.DIRECT.GET.KV_"+r.bucket, inbox, request); err != nil {
		return page{}, fmt.Errorf("read bucket %s: %w", r.bucket, err)
	}
	var got page
	for {
		select {
		case msg := <-answers:
			end, err := r.add(&got, msg)
			if end || err != nil {
				return got, err
			}
		case <-ctx.Done():
			return got, fmt.Errorf("read bucket %s: %w", r.bucket, ctx.Err())
		}
	}
}

// add takes one message of the answer and tells whether it was the last.
func (r reader) add(to *page, msg *nats.Msg) (end bool, err error) {
	// Every stored message comes with its sequence, and the broker's own words come without.
	if lastValue(msg.Header, jetstream.SequenceHeader) != "" {
		entry, err := r.entry(msg)
		if err == nil {
			to.entries = append(to.entries, entry)
		}
		return false, err
	}
	switch status := msg.Header.Get("Status"); status {
	case "204":
		pending, err := strconv.ParseUint(msg.Header.Get("Nats-Num-Pending"), 10, 64)
		to.more = pending > 0 && len(to.entries) > 0
		if err != nil {
			return true, fmt.Errorf("read bucket %s: the broker does not say how much is left: %w", r.bucket, err)
		}
		return true, nil
	case "404":
		return true, nil
	case "503":
		return true, fmt.Errorf("read bucket %s: %w", r.bucket, errNoAnswer)
	default:
		return true, fmt.Errorf("read bucket %s: the broker answers %q %s", r.bucket, status, msg.Header.Get("Description"))
	}
}

func (r reader) prefix() string { return "$KV." + r.bucket + "." }

func (r reader) entry(msg *nats.Msg) (Entry, error) {
	revision, err := strconv.ParseUint(lastValue(msg.Header, jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("read bucket %s: revision: %w", r.bucket, err)
	}
	created, err := time.Parse(time.RFC3339Nano, lastValue(msg.Header, jetstream.TimeStampHeaer))
	if err != nil {
		return Entry{}, fmt.Errorf("read bucket %s: time of revision %d: %w", r.bucket, revision, err)
	}
	key, ok := strings.CutPrefix(lastValue(msg.Header, jetstream.SubjectHeader), r.prefix())
	if !ok {
		return Entry{}, fmt.Errorf("read bucket %s: revision %d stands on a foreign subject", r.bucket, revision)
	}
	entry := Entry{Key: key, Value: msg.Data, Revision: revision, Created: created}
	switch operation := msg.Header.Get("KV-Operation"); {
	case operation == "DEL", operation == "PURGE", msg.Header.Get(jetstream.MarkerReasonHeader) != "":
		entry.Value, entry.Removed = nil, true
	}
	return entry, nil
}

// lastValue is the broker's own word: it adds its headers behind those that the writer of the entry has chosen, which may
// have the same names.
func lastValue(header nats.Header, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}
