// Package signer is the service that turns events into signed requests.
//
//	reads    EVENTS (consumer "signer"), retries.due.> (consumer "due"), buckets endpoints, signing-keys and schemas
//	writes   DELIVERIES, DEADLETTERS, retries.at.>, signing-keys (keys that do not exist yet)
//	serves   public keys over HTTP: /.well-known/jwks.json and /keys/TENANT/ENDPOINT; schemas: /schemas/TENANT/TYPE/VERSION
//	holds    signing keys, in memory; the master key under which they are sealed; not those that stay in tokens, which it asks
//	must not talk to the internet, or see a client certificate's key
//
// For an event:
//
//	parse ── invalid ──▶ DEADLETTERS with every reason
//	  ▼
//	check its data against the schema of its type, if there is one ── breaks it ──▶ DEADLETTERS with every reason
//	  ▼
//	match the tenant's endpoints ── none ──▶ done
//	  ▼
//	sign one request for each ──▶ DELIVERIES, every ack awaited ──▶ ack the event
//	  │ some failed: a record on RETRIES stands for each of those, so that one endpoint's trouble repeats nobody else's
//	  └ all failed: the event goes back and is tried again
//
// For a due retry: read the event by sequence, sign again with a fresh timestamp, publish, then ack.
package signer
