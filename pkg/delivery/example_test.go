package delivery_test

import (
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
)

// A receiver that asks for time gets it; the schedule decides when it asks for less.
func ExamplePolicy_Next() {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	orders := endpoint.Key{Tenant: "acme", Name: "orders"}
	d := delivery.Delivery{ID: delivery.NewID([32]byte{1, 2, 3}, orders), Endpoint: orders, Event: 1834, Attempt: 1, First: now}
	policy := delivery.Policy{Schedule: endpoint.StandardSchedule(), Horizon: 144 * time.Hour}

	busy := delivery.Verdict{Outcome: delivery.Throttled, Origin: delivery.Said, Status: 429, RetryAfter: 2 * time.Minute}
	step := policy.Next(d, busy, now)
	fmt.Println("attempt", step.Attempt, "after", step.At.Sub(now).Round(time.Second))

	gone := delivery.Verdict{Outcome: delivery.Gone, Origin: delivery.Said, Status: 410, Detail: "hooks.example.com:443 answered HTTP 410"}
	step = policy.Next(d, gone, now)
	fmt.Println(step.Action == delivery.Disable, step.Reason)
	// Output:
	// attempt 2 after 2m4s
	// true hooks.example.com:443 answered HTTP 410
}

func ExampleNewID() {
	fmt.Println(delivery.NewID([32]byte{1, 2, 3}, endpoint.Key{Tenant: "acme", Name: "orders"}))
	// Output: msg_5vqvcz6xo26cc23lefaux347s2cvtkop
}

func ExampleParseRetryAfter() {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	fmt.Println(delivery.ParseRetryAfter("120", now))
	fmt.Println(delivery.ParseRetryAfter("Tue, 24 Nov 2026 09:00:30 GMT", now))
	fmt.Println(delivery.ParseRetryAfter("2000000", now), "is the most")
	fmt.Println(delivery.ParseRetryAfter("soon", now))
	// Output:
	// 2m0s
	// 30s
	// 24h0m0s is the most
	// 0s
}

func ExampleOutcome_Turn() {
	for _, o := range []delivery.Outcome{delivery.Unavailable, delivery.ClientCertificateRefused} {
		fmt.Println(o, "is held until somebody mends it:", o.Hold())
	}
	// Output:
	// unavailable is held until somebody mends it: false
	// client_certificate_refused is held until somebody mends it: true
}
