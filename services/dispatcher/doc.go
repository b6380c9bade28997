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
//	receiver allows so many a minute? ── its turn is far ──▶ RETRIES until about then, costs no attempt
//	                  ▼
//	receiver has not agreed, endpoint held or paused? ── yes ──▶ RETRIES, and by a signer into BACKLOG
//	                  ▼
//	signature stale? ── yes ──▶ RETRIES, costs no attempt
//	                  ▼
//	POST over mutual TLS ──▶ Outcome ──▶ Policy ──▶ settle: receipt and what comes next are stored, then the ack
//
// A fetch loop only enqueues, so one slow destination keeps nothing waiting but its own lane. Everything that a message
// needs next is stored before it is acked; a crash in between repeats an attempt and loses nothing.
//
// While more than a quarter of the slots is taken, a receiver that is new, or whose last answer took a second or more, gets
// one request at a time, whatever its concurrency: very many that hang would take all the room together. What has no place
// in its lane meanwhile goes through RETRIES, which costs no attempt.
//
// It must never send a byte of an event to a receiver that was to be asked first and has not agreed (activate.go), send
// faster than a receiver allows (pace.go), or count either as an attempt.
package dispatcher
