// Package receiver is net/http middleware for whoever receives webhooks from
// Handfast, or from any sender of Standard Webhooks over mutual TLS. Its handler
// runs for a request only when both proofs hold:
//
//	request ──▶ who is it?          verified client certificate, SAN on the list ── no ──▶ 495
//	        ──▶ how big is it?      body within the bound ───────────────────────── no ──▶ 413
//	        ──▶ is it what they     one signature by a known key over exactly
//	            sent, and now?      these bytes, timestamp within the tolerance ─── no ──▶ 401
//	        ──▶ your handler        FromContext(ctx) tells id, time, client and body
//
// The server's own TLS configuration has to ask for client certificates and check
// them (tls.RequireAndVerifyClientCert with ClientCAs); the middleware refuses
// every request of a server that does not. A name counts if it is a URI or DNS
// subject alternative name, compared whole: common names and wildcards never
// match (RFC 9525, sections 2 and 6).
//
// Webhooks are delivered at least once: answer 2xx for a delivery whose ID was
// processed before, and do nothing else. This package does not remember ids yet,
// so within the tolerance a request can be repeated by whoever holds the client
// certificate; a handler with effects has to keep the ids itself.
//
// What this package must never do: let a request through because something about
// it could not be checked, parse a body before its signature holds, or repeat
// what the caller sent in an error.
package receiver
