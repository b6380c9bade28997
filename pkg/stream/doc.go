// Package stream is Handfast's side of NATS JetStream: the one table of streams, subjects, consumers and buckets
// (DESIGN.md section 3), and the few moves that services make on them.
//
//	EVENTS ──Fetch──▶ signer ──Publish──▶ DELIVERIES.<p> ──Fetch, by rank──▶ dispatcher ──Publish──▶ RECEIPTS
//	                    ▲                                                        │
//	                    └──retries.due.…──RETRIES◀──retries.at.… (schedule)──────┤──▶ DEADLETTERS
//
// Rules that hold everywhere:
//   - Publish, wait for the ack, then ack the source. [Publisher.Send] gives a [Pending] that must be waited for.
//   - Services bind to consumers that [Topology.Apply] made; they never make one.
//   - Messages are pulled by [Loop] over Fetch. Consume and Messages of nats.go v1.55.0 can stall (DESIGN.md 12).
//   - Buckets are followed by [Bucket.Watch], which reads by direct get and needs no consumer: who may make one names the
//     subject that the server then writes to.
//   - A schedule stands on its own subject per delivery, so publishing it again replaces it.
//   - Subjects hold names and ids only, never a key, a URL or anything of a payload.
package stream
