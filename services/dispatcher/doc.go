// Package dispatcher is the service that puts signed requests on authenticated connections.
//
//	reads    DELIVERIES (one consumer per partition, by rank), bucket endpoints, bucket dispatchers
//	writes   RECEIPTS, retries.at.>, DEADLETTERS, its own lease, the status of endpoints
//	holds    client identities; it cannot sign, and cannot read signing keys
//
// The way of one message:
//
//	fetch loop ──▶ lane of its endpoint ── full ──▶ RETRIES, costs no attempt
//	                  │  (bounded length, bounded concurrency)
//	                  ▼
//	finished before? ── yes ──▶ ack
//	signature stale? ── yes ──▶ RETRIES, costs no attempt
//	                  ▼
//	POST over mutual TLS ──▶ Outcome ──▶ Policy ──▶ settle: receipt and what comes next are stored, then the ack
//
// A fetch loop only enqueues, so one slow destination keeps nothing waiting but its own lane. Everything that a message
// needs next is stored before it is acked; a crash in between repeats an attempt and loses nothing.
package dispatcher
