package receipt

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls"
)

// Receipt is one attempt. The JSON form is schemas/receipt.schema.json.
type Receipt struct {
	Delivery delivery.ID `json:"delivery"`
	Tenant   string      `json:"tenant"`
	Endpoint string      `json:"endpoint"`
	Event    Event       `json:"event"`
	Attempt  int         `json:"attempt"`

	Outcome delivery.Outcome `json:"outcome"`
	// Origin tells whether the receiver said so, we inferred it, or it was decided here.
	Origin delivery.Origin `json:"origin"`
	// Status is the HTTP status, 0 without a response.
	Status int    `json:"status,omitempty"`
	Detail string `json:"detail,omitempty"`
	Advice string `json:"advice,omitempty"`
	// Next is when the next attempt is due; nil when this was the last.
	Next *time.Time `json:"next,omitempty"`

	// URL is the receiver's origin, without the path and query, which are often secret; empty when the endpoint is gone.
	URL string `json:"url,omitempty"`
	// First is when the event was stored, SignedAt when this attempt was signed, At when it began.
	First    time.Time `json:"first"`
	SignedAt time.Time `json:"signed_at"`
	At       time.Time `json:"at"`
	// Duration is from At to the end of the answer.
	Duration time.Duration `json:"duration_ns"`
	// Keys names the keys that signed, as scheme=id.
	Keys []string `json:"keys"`
	// Reused tells that the connection had been opened for an earlier request.
	Reused bool `json:"connection_reused"`
	// Proof is the handshake of the connection, nil when none was made.
	Proof *mtls.Proof `json:"proof,omitempty"`
	// Trace is the hex trace id.
	Trace      string `json:"trace,omitempty"`
	Dispatcher string `json:"dispatcher"`
}

// Event names the event of an attempt.
type Event struct {
	Sequence uint64 `json:"sequence"`
	Type     string `json:"type"`
	Source   string `json:"source"`
	ID       string `json:"id"`
}

// Parse reads a receipt. One that does not say which attempt of which delivery ended in what proves nothing and is an
// error.
func Parse(data []byte) (Receipt, error) {
	var r Receipt
	if err := json.Unmarshal(data, &r); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	var missing []string
	for _, field := range []struct {
		name   string
		absent bool
	}{
		{"delivery", !r.Delivery.Valid()},
		{"tenant", r.Tenant == ""},
		{"endpoint", r.Endpoint == ""},
		{"attempt", r.Attempt < 1},
		{"outcome", r.Outcome == 0},
		{"origin", r.Origin == 0},
		{"at", r.At.IsZero()},
	} {
		if field.absent {
			missing = append(missing, field.name)
		}
	}
	if len(missing) > 0 {
		return Receipt{}, fmt.Errorf("receipt: no valid %s: this is no receipt of Handfast", strings.Join(missing, ", "))
	}
	return r, nil
}
