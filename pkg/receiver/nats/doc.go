// Package nats is a store of delivery ids in a key-value bucket of NATS JetStream, for receivers that run as several
// processes.
//
//	receiver A ──┐  Get · Create · Update at a revision
//	             ├──────────────────────▶ bucket   <hash of realm and id> = record, until the bucket's TTL
//	receiver B ──┘
//
// The bucket belongs to the receiver, not to Handfast: make one with a TTL of at least Options.Remember (and never less
// than twice the tolerance and some seconds), a history of 1 and, for more than one server, three replicas. This package does not make it,
// so that the receiver's user needs no rights over streams.
//
// What it must never do: decide anything (the rules are in pkg/receiver), or take a failure for "not there".
package nats
