// Package conformance checks Handfast against what others have written down: Standard Webhooks, CloudEvents and the
// semantics of HTTP. The judge is never our own code but theirs: the official libraries in Go and JavaScript, the
// official CloudEvents SDK, clients of NATS that we did not write, and the published vectors.
//
//	producer/*  ──▶  broker  ──▶  signer  ──▶  dispatcher  ──mutual TLS──▶  receiver, with the official library inside
//	(what README.md shows)
//
// What it must never do: take our word for it. Where a number is computed by our code (jitter), its bounds are written
// down beside it.
package conformance
