// Package alert tells people, once, what they should know before or when a certificate stops deliveries: as operational
// CloudEvents on events.handfast.<type>, which any endpoint of the tenant handfast can subscribe to, and as metrics.
//
//	handshakes, identities, trust ──See──▶┌──────┐──publish──▶ events.handfast.handfast.…
//	attempts ──────────────────Outcome───▶│ Desk │
//	rotations ─────────────────Rotated───▶└──────┘◀─Get, Create, Update─▶ Memory: what has been told
//
// Any number of desks share one memory. Who tells something first is remembered; the others find it there.
//
// # The end of certificates
//
// An alert comes at 30, 14, 7 and 1 days before the end and when it has come; at shares of the life when that is short;
// and for what renews by itself only when the renewal is overdue: see [Certificate.Steps]. Each comes once for a subject
// and fingerprint. When several steps have come since anybody looked, only the most urgent is told. A certificate that
// was replaced is not told about any more:
//
//	          first seen after the last sight of the old one,
//	          or seen when that one was absent for a day
//	watched ────────────────────────────────────────────────▶ replaced
//	   ▲                                                          │
//	   └──────────────────── seen again ──────────────────────────┘
//
// # The standing of endpoints
//
//	           in trouble for Settle (1 min) without a success,
//	           or 3 attempts in trouble, whatever else succeeds
//	healthy ──────────────────────────────────────────────────▶ held ─┐ another trouble
//	   ▲                                                         │  ▲  │ for Settle
//	   └────── a success, and then Quiet (5 min) no trouble ─────┘  └──┘
//
// So one failed attempt that is followed by a good one is no alert, a hundred failed attempts are one, and a receiver of
// which one server in three is wrong is one too. Outcomes of the network change nothing. Each change has a number; its
// alerts are written into the memory first, as pending, then published, and then taken out. A refusal ends with its own
// type, everything else with endpoint.healed.
//
// The state server_certificate_expired (an attempt found it so) and the alert server_certificate_expired (the time has
// come) are different news: the first is told as endpoint.held.
//
// # Order and crashes
//
// The memory is looked at before, and written after publishing. A desk that dies in between leaves an alert that is told
// again with the same id, never one that is not told. Nats-Msg-Id drops the repeat at the broker within its window, and
// webhook-id, which is made of source and id, tells it to the receiver at any time.
//
// # Metrics
//
//	handfast.certificate.expiry   gauge, seconds left; kind, name; the 200 that end first
//	handfast.alerts               counter; type
//	handfast.alert.failures       counter; tries that failed
//	handfast.endpoints.held       gauge; outcome; as this process knows: aggregate over processes with max
//
// # What it must never do
//
//   - Hold up an attempt: See, Outcome, Recall, Forget, Retire and Rotated never wait for the broker.
//   - Lose an alert because the broker is away: it is tried again until it is stored.
//   - Tell one thing twice under two ids.
//   - Grow with attempts: there is one small entry per endpoint, identity, authority and root.
package alert
