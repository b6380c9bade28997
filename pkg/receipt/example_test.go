package receipt_test

import (
	"fmt"

	"github.com/handfast/handfast/pkg/receipt"
)

// A receipt keeps what the receiver said apart from what was inferred.
func ExampleParse() {
	r, err := receipt.Parse([]byte(`{
		"delivery": "msg_5vqvcz6xo26cc23lefaux347s2cvtkop", "tenant": "acme", "endpoint": "orders",
		"event": {"sequence": 1834, "type": "com.acme.order.created", "source": "/shop", "id": "42"},
		"attempt": 1, "outcome": "client_certificate_refused", "origin": "inferred",
		"detail": "the connection was cut right after the handshake",
		"first": "2026-11-24T09:00:00Z", "signed_at": "2026-11-24T09:00:00Z", "at": "2026-11-24T09:00:00Z", "duration_ns": 31200100,
		"keys": ["v1=k_7f3a"], "connection_reused": false, "dispatcher": "dispatcher-1"
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Outcome, "was", r.Origin, "after", r.Duration)
	// Output: client_certificate_refused was inferred after 31.2001ms
}
