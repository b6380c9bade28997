// Package redis is a store of delivery ids in Redis, for receivers that run as several processes.
//
//	receiver A ──┐  GET, and one script: compare, then SET … PX
//	             ├──────────────────────▶ Redis   <prefix><hash of realm and id> = record, until it expires
//	receiver B ──┘
//
// Redis has to keep what it was given: maxmemory-policy noeviction, and a replica that takes over may lack the last
// records. Within such a gap a replay could pass; a receiver that cannot bear that uses a store with a quorum, such as
// pkg/receiver/nats with three replicas.
//
// What it must never do: decide anything (the rules are in pkg/receiver), or take a failure for "not there".
package redis
