package receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// phase is how far a delivery has come:
//
//	absent ──▶ processing ──▶ done
//	               │  ▲
//	               ▼  │ a later attempt
//	            released
type phase uint8

const (
	absent     phase = iota
	processing       // a handler runs, until the lease ends
	done             // a handler answered 2xx
	released         // a handler failed; a later attempt may try again
)

// record is what a [Store] keeps of a delivery. Times are in Unix nanoseconds, so that it is small.
type record struct {
	Phase  phase  `json:"p"`
	Owner  string `json:"o,omitempty"`
	Digest string `json:"d"`           // of the body: SHA-256 in hexadecimal
	Signed int64  `json:"s,omitempty"` // when the newest attempt was signed, in Unix seconds
	Lease  int64  `json:"l,omitempty"`
	Fresh  int64  `json:"f"` // until when an attempt that was seen would pass as fresh
	Until  int64  `json:"u"`
}

// maxRecord is more than any record of ours, in bytes.
const maxRecord = 1 << 10

var errRecord = errors.New("the store of delivery ids holds something under this id that is no record of ours; use a store, or a prefix, for this alone")

func decodeRecord(value []byte) (record, error) {
	if value == nil {
		return record{}, nil
	}
	var r record
	if len(value) > maxRecord || json.Unmarshal(value, &r) != nil || r.Phase == absent || r.Phase > released || r.Digest == "" {
		return record{}, errRecord
	}
	return r, nil
}

func (r record) encode() []byte {
	value, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("receiver: a record of numbers and plain text cannot be written: %v", err))
	}
	return value
}

func (r record) leased() time.Time { return time.Unix(0, r.Lease) }

func (r record) until() time.Time { return time.Unix(0, r.Until) }

// seen moves the record on to a newer attempt.
func (r record) seen(a attempt) record {
	r.Signed = max(r.Signed, a.signed)
	r.Fresh = max(r.Fresh, a.fresh.UnixNano())
	r.Until = max(r.Until, r.Fresh)
	return r
}

func (r record) keep(now time.Time) Keep {
	return Keep{Needed: max(time.Unix(0, r.Fresh).Sub(now), time.Second), Useful: max(r.until().Sub(now), time.Second)}
}
