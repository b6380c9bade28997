package delivery

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// ID is the identity of a delivery and the `webhook-id` that its receiver sees. It never changes, whatever happens.
type ID string

// NewID derives the id from the event's identity (a digest of source and id) and the endpoint. It holds no "." (the
// separator of the signed content, Standard Webhooks 1.0.0) and is a valid NATS subject token.
func NewID(event [32]byte, key endpoint.Key) ID {
	h := sha256.New()
	h.Write(event[:])
	var length [4]byte
	for _, part := range [...]string{key.Tenant, key.Name} {
		binary.BigEndian.PutUint32(length[:], uint32(len(part))) //nolint:gosec // names are at most 63 bytes
		h.Write(length[:])
		h.Write([]byte(part))
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	// 160 of 256 bits: no collision to be expected before 2^80 deliveries, and the header stays short.
	return ID("msg_" + idEncoding.EncodeToString(sum[:20]))
}

// Valid reports whether the id can stand as one token of a subject and as a webhook-id: 1 to 64 letters, digits, "_" or
// "-". Every id of [NewID] is valid; one from outside may not be, and must be refused before a subject is made of it.
func (id ID) Valid() bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Lower case, because some consumers of subjects and headers fold case.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Delivery is one event on its way to one endpoint, at one attempt.
type Delivery struct {
	ID       ID
	Endpoint endpoint.Key
	// Event is the sequence of the event in EVENTS.
	Event uint64
	// Attempt counts from 1. It is ours, not the broker's delivery count.
	Attempt int
	// Base is how many attempts had been made when the delivery was last replayed by hand; its schedule counts from
	// there.
	Base int
	// Held is how many of the attempts since Base ended in a hold; those do not count on the schedule.
	Held int
	// Resigned counts how often this attempt went back to be signed without being sent.
	Resigned int
	// Schema is what the attribute dataschema of the body was decided to say when the event was checked against a schema,
	// so that every attempt has the same body. Empty where no schema was in force.
	Schema string
	// Inline tells that the payload travels with the delivery, because the event may have aged out of EVENTS.
	Inline bool
	// First is when the event was stored; retry horizons count from it.
	First time.Time
}

// Counted is how many attempts count on the schedule: those made since the last replay, without the held ones.
func (d Delivery) Counted() int { return d.Attempt - d.Base - d.Held }

// CheckCounters reports counters that no service of ours writes: attempts count from 1, and neither Base nor Held can
// reach the attempt that is still to be made.
func (d Delivery) CheckCounters() error {
	if d.Attempt < 1 || d.Base < 0 || d.Held < 0 || d.Resigned < 0 || d.Base > d.Attempt || d.Counted() < 1 {
		return fmt.Errorf("attempt %d, of these %d before the last replay and %d held, signed again %d times: these counters contradict each other",
			d.Attempt, d.Base, d.Held, d.Resigned)
	}
	return nil
}

// Verdict is the judgement of one attempt: the outcome, how it is known, and words for a person.
type Verdict struct {
	Outcome Outcome
	Origin  Origin
	// Status is the HTTP status, 0 when there was no response.
	Status int
	// Detail says what happened and where.
	Detail string
	// Advice says what to do, and who must do it. Empty when there is nothing to do.
	Advice string
	// RetryAfter is the receiver's wish, 0 when it had none.
	RetryAfter time.Duration
}
