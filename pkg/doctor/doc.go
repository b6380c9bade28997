// Package doctor finds out why a receiver cannot be delivered to over mutual TLS, and says it in words. It makes real
// connections and looks at each from the outside, in this order:
//
//	name ─▶ connection ─▶ tls ─▶ server certificate ─▶ revocation
//	                       │            │ not trusted: one more look, in which nothing of ours is shown
//	                       ▼            ▼
//	           certificate request ─▶ identity ─▶ with current ─▶ with next ─▶ without certificate ─▶ with stranger
//	           (does it ask, for whose?)          └─ a handshake and an OPTIONS request each ──────────────────────┘
//	                       ▼
//	             host (SNI against Host) · clock (Date against ours) · path (is there a proxy that ends TLS?)
//
// Every step says what happened, what it means and what each side must change. The outcome is what a delivery would end
// in now, by the names of DESIGN.md section 6. A receiver that lets in everybody would get its deliveries, too, so there
// a report can say "delivered" and not be healthy.
//
// On TLS 1.3 a handshake succeeds before the receiver has judged our certificate (RFC 8446 section 4.4), so that only an
// answer to the OPTIONS request proves anything. The request has the shape of CloudEvents' web hook validation (HTTP 1.1
// Web Hooks for Event Delivery 1.0.1, section 4.1). Any HTTP answer counts, except those that speak of our certificate.
//
// What this package must never do:
//   - send a byte of a message, a signature, or the endpoint's path to a receiver whose certificate did not pass trust.
//   - show a client certificate to such a receiver.
//   - let a key, or the path of a URL, into a report.
//   - say as a fact what was only inferred.
package doctor
