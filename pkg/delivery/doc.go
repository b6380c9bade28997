// Package delivery holds the nouns of one event on its way to one endpoint, and the rules that decide what happens
// after each attempt. It sends nothing and stores nothing: services do, and ask this package what comes next.
//
//	             ┌────────── sign again (stale signature, lane full: costs no attempt) ──────────┐
//	             ▼                                                                               │
//	event ──▶ signed ──▶ attempt n ──▶ Outcome ──▶ Policy.Next ──┬─ done        2xx              │
//	             ▲                                               ├─ retry       at a time ───────┤
//	             │                                               ├─ hold        at a time, never dropped
//	             └───────────────── due ◀────────────────────────┤
//	                                                             ├─ dead letter whole request and reason
//	                                                             └─ disable     dead letter, and the endpoint is off
//
// Rules that this package must never break:
//   - An [ID] is derived, so that a fan-out repeated after a crash gives the same one.
//   - A certificate failure on either side ([Outcome.Hold]) never ends in a drop.
//   - A [Policy] is pure: the same arguments give the same [Step], jitter included.
package delivery
