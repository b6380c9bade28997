// Package operator is what the commands of people do, without a terminal: it looks after endpoints, publishes events,
// reads what happened, and sets deliveries going again.
//
//	command ──flags──▶ Operator ──▶ endpoints      bucket: apply, pause, resume, delete
//	   ▲                  │    ──▶ EVENTS          publish, tail
//	   │                  │    ──▶ RECEIPTS        list, show, tail; the newest attempt of a delivery counts
//	 prints               │    ──▶ DEADLETTERS     list, show
//	   │                  └────▶ RETRIES           replay: one schedule, due now, on the delivery's own subject
//	   └──────values──────┘
//
// Where a delivery stands is told by where it is found, in this order: a schedule in RETRIES (it waits for a time), a
// record in BACKLOG (its endpoint is paused), a request in DELIVERIES (it is on its way), its newest receipt or dead
// letter (it has ended).
//
// A replay is one more attempt, numbered after the last one; the endpoint's schedule counts anew from there. It is named
// by the delivery and the last attempt, so that asking twice replays once. A delivery that is on its way is left alone.
//
// It must never create or change a signing key, a stream or a consumer that others use, and never show a secret that was
// not asked for. Lists read streams backwards in blocks, so that memory does not grow with what a stream holds.
package operator
