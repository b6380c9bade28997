package delivery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"
)

// DeadLetter is what DEADLETTERS keeps: the whole request and the reason, enough to replay it after its event has aged
// out. For a published message that is no valid event, the message takes the request's place and Delivery is empty.
// The JSON form is schemas/deadletter.schema.json.
type DeadLetter struct {
	Tenant   string `json:"tenant,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Delivery ID     `json:"delivery,omitempty"`
	Attempt  int    `json:"attempt,omitempty"`
	// Event is the sequence in EVENTS, where the event stays until it ages out; 0 for what never was one.
	Event uint64 `json:"event,omitempty"`
	// Outcome is empty for a message that was refused before any attempt.
	Outcome *Outcome `json:"outcome,omitempty"`
	// Reasons holds every reason, in words.
	Reasons []string `json:"reasons"`
	// Subject is where a refused message was published.
	Subject string      `json:"subject,omitempty"`
	URL     string      `json:"url,omitempty"`
	Header  http.Header `json:"header,omitempty"`
	Body    Body        `json:"body"`
	// Stamp is by what a signer knows, at a replay, that a signer built the body for this delivery.
	Stamp string `json:"stamp,omitempty"`
	// Schema is that of [Delivery], for a replay.
	Schema string `json:"dataschema,omitempty"`
	// First is when the event was stored, zero for what never was one; At is when it was given up.
	First time.Time `json:"first,omitzero"`
	At    time.Time `json:"at"`
}

// maxLetter is what NATS takes in one message by default (1 MiB), less room for its own headers.
const maxLetter = 1<<20 - 8<<10

// Encode writes the letter as JSON that fits into one message. What cannot fit, which only the message of a foreign writer
// can be, is left out with its size told: a letter that cannot be stored would come back for ever.
func (l DeadLetter) Encode() ([]byte, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("write dead letter: %w", err)
	}
	if len(data) <= maxLetter {
		return data, nil
	}
	size := len(l.Body.Text) + len(l.Body.Base64) + l.Body.Omitted
	l.Header, l.Body = nil, Body{Omitted: max(size, 1)}
	l.Reasons = append(slices.Clip(l.Reasons), "the message is too large to be repeated here")
	if data, err = json.Marshal(l); err != nil {
		return nil, fmt.Errorf("write dead letter: %w", err)
	}
	return data, nil
}

// Body is a message body in JSON: readable when it can be, exact always.
type Body struct {
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
	// Omitted tells that a message of this many bytes was too large to repeat.
	Omitted int `json:"omitted_bytes,omitempty"`
}

// maxText bounds what is written as text: JSON escapes can make it six times as long, base64 only a third longer.
const maxText = 64 << 10

// NewBody keeps data exactly: as text when it is short valid UTF-8, as base64 otherwise.
func NewBody(data []byte) Body {
	if len(data) <= maxText && utf8.Valid(data) {
		return Body{Text: string(data)}
	}
	return Body{Base64: data}
}

// Bytes gives the body back; ok is false when it was omitted.
func (b Body) Bytes() (data []byte, ok bool) {
	if b.Omitted > 0 {
		return nil, false
	}
	if b.Base64 != nil {
		return b.Base64, true
	}
	return []byte(b.Text), true
}
