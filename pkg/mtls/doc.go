// Package mtls holds connections on which both sides have authenticated each other, and sends HTTP requests on them.
//
//	Pool.Do(target, request)
//	   │  identity now? ── none ──▶ Failure NoIdentity
//	   ▼
//	destination = authority + server name + identity fingerprint + trust fingerprint + mutual + lowest TLS version
//	   │  idle connection? ── yes ──────────────────────────────────────────┐
//	   ▼  no: dial (bounded per destination; waiters share what comes free) │
//	address policy ▶ TCP ▶ TLS: VerifyConnection (trust), GetClientCertificate (identity, acceptable CAs recorded)
//	   │  receiver did not ask ──▶ Failure ClientCertificateNotRequested    │
//	   ▼                                                                    │
//	revocation, where the trust asks for it: staple, else CRLs (cached)     │
//	   │  revoked, or unknown where that is refused ──▶ Failure             │
//	   ▼                                                                    ▼
//	unproven connection ── first request waits for the receiver's word ──▶ proven connection
//	                       before its body leaves (Expect: 100-continue)    body at once
//
// On TLS 1.3 a handshake "succeeds" before the receiver has judged our certificate; the refusal arrives on the first
// read. A connection is therefore unproven until the receiver has answered something on it, and what ends an unproven
// connection is attributed to our certificate. On HTTP/1.1 that answer is the one to the first header, an interim one
// included. On HTTP/2 it is the one to a ping, which shows that TLS has accepted us, and then the one to an OPTIONS
// request without a body to the same target: nginx lets TLS accept everybody and refuses request by request.
//
// A connection that waits is looked at, through TLS and without blocking, at the moment at which it is used again. What
// nobody asked for ends it, wherever it waits, and so does a close. A request that meets a close all the same goes once
// more, on a connection that is new. While a destination is down one handshake at a time tries it, and its failure
// answers everybody who waits.
//
// Revocation is checked between the handshake and the connection's first use: in VerifyConnection there is no context
// that could end a fetch. A connection whose trust asks for it is not used for longer than about an hour, however busy
// it is, so that its certificates are looked at again.
//
// What this package must never do:
//   - send a byte of a message where the receiver's certificate did not pass trust, or, with [Required], where the
//     receiver did not ask for ours. There is no switch that turns verification off.
//   - share a TLS session between identities: there is no session cache at all, because a resumed session keeps the
//     identity it was opened with.
//   - let a key, or a byte of a message, into an error, a span or a log.
//
// It knows nothing of deliveries, endpoints or NATS.
package mtls
