package delivery

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
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
	// Resigned counts how often this attempt went back to be signed without being sent.
	Resigned int
	// Inline tells that the payload travels with the delivery, because the event may have aged out of EVENTS.
	Inline bool
	// First is when the event was stored; retry horizons count from it.
	First time.Time
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
