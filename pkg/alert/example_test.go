package alert_test

import (
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/alert"
)

func ExampleCertificate_Steps() {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	leaf := alert.Certificate{Kind: alert.Identity, Subject: "default", NotBefore: from, NotAfter: from.AddDate(0, 0, 6), Renews: true}
	for _, step := range leaf.Steps() {
		fmt.Println(step.At.Format(time.DateTime), step.Left)
	}
	// Output:
	// 2026-01-06 00:00:00 24h0m0s
	// 2026-01-06 12:00:00 12h0m0s
	// 2026-01-06 18:00:00 6h0m0s
	// 2026-01-07 00:00:01 0s
}

// A dispatcher that was down for weeks tells the most urgent step only.
func ExampleCertificate_Due() {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	yearly := alert.Certificate{Kind: alert.Server, Subject: "acme/orders", NotBefore: from, NotAfter: from.AddDate(1, 0, 0)}
	due, ok := yearly.Due(from.AddDate(1, 0, -5))
	fmt.Println(ok, due.Left, "before the end, since", due.At.Format(time.DateOnly))
	// Output: true 168h0m0s before the end, since 2026-12-25
}

func ExampleConditionOf() {
	for _, outcome := range []string{"delivered", "unavailable", "client_certificate_refused", "timed_out"} {
		condition, ok := alert.ConditionOf(outcome)
		fmt.Println(outcome, ok, condition)
	}
	// Output:
	// delivered true healthy
	// unavailable true healthy
	// client_certificate_refused true client_certificate_refused
	// timed_out false unknown
}
