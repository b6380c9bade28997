// Package receiver is net/http middleware for whoever receives webhooks from
// Handfast, or from any sender of a known signature scheme over mutual TLS. Its
// handler runs for a request only when both proofs hold, and once for each
// delivery:
//
//	request ──▶ how big is it?      header within the bound ─────────────────────── no ──▶ 431
//	        ──▶ who is it?          verified client certificate, SAN on the list ── no ──▶ 495
//	        ──▶ is it plain?        POST, no doubled or disguised header ────────── no ──▶ 405, 400, 401, 415
//	        ──▶ how big is it?      body within the bound ───────────────────────── no ──▶ 413
//	        ──▶ is it what they     one signature by a known key over exactly
//	            sent, and now?      these bytes, timestamp within the tolerance ─── no ──▶ 401
//	        ──▶ is it new?          the table below ─────────────────────────────── no ──▶ 204, 409, 425, 503
//	        ──▶ your handler        FromContext(ctx) tells id, time, client and body
//
// Options with nothing but Clients and Keys do all of this.
//
// # Who it is
//
// The server's own TLS configuration has to ask for client certificates and check
// them (tls.RequireAndVerifyClientCert with ClientCAs); the middleware refuses
// every request of a server that does not. A name counts if it is a URI or DNS
// subject alternative name, compared whole: common names and wildcards never
// match (RFC 9525, sections 2 and 6). Behind a proxy that ends TLS, a [Terminator]
// says from where and in which header (RFC 9440 or a vendor's) the certificate
// comes; it is verified again, and a request that did not come from there, or
// tells an identity in any other header, is refused.
//
// # Duplicate or replay
//
// An honest sender that tries again keeps the id and signs anew: the same id and
// body, a later timestamp, another signature. An attacker who has captured a
// request can send it again only as it was, because the timestamp is signed. So
// a delivery's record holds its body's digest and the newest timestamp that was
// seen, and a verified request with its id is judged by the first line that fits:
//
//	another body than before                        409  one id is one message: the sender is at fault
//	a timestamp not later than the newest seen      425  a replay, or one attempt that was sent twice
//	later, and a handler has answered 2xx           204  a duplicate: acknowledged, not processed
//	later, and a handler is running                 503  with Retry-After
//	later, and every handler before has failed      processed
//
// Every verified request moves the newest timestamp on, whatever it was answered.
// Whichever signatures were taken off the request and whoever's certificate it
// came with make no difference. A record lives until none of its attempts would
// pass as fresh any more, and Remember longer once it was processed; an attempt
// older than the tolerance is refused before anybody looks it up.
//
// A sender that crashed may honestly repeat an attempt byte by byte, and nothing
// tells that from a replay. Therefore the answer is 425 Too Early (RFC 8470), and
// not a 4xx that means "never": Handfast and others sign again, and the next
// attempt is a duplicate or is processed.
//
// A delivery counts as processed when its handler returned after a 2xx. Any other
// status and a panic leave it open. If the process dies in the handler, the claim
// ends with its lease and a later attempt is processed: still at least once for
// the handler's effects, never twice at the same time.
//
// Schemes that sign no id have less to offer. Stripe's and Slack's sign a time: an
// attempt passes once, but a retry of the sender is a delivery of its own, told by
// the id in its body. Those of DocuSign, PagerDuty, GitHub, Shopify and Twilio
// sign the body alone: the body is the id, an equal one within Remember is a
// duplicate, and a replay after that cannot be told at all. Schemes of different
// strength are refused in one receiver, because a request stripped of the stronger
// signature would pass for a new one.
//
// # Senders that ask first
//
// A sender may ask for consent before it delivers: by OPTIONS with
// WebHook-Request-Origin (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4),
// which is answered with permission only if Origins names that origin; or, like
// Adobe Acrobat Sign, by GET with X-AdobeSign-ClientId, which is answered, and
// echoed in every answer, only if AdobeClientIDs names that id. Both come after
// the client's certificate has been checked, and neither makes a client known.
//
// # What it must never do
//
// Let a request through because something about it could not be checked or
// remembered (a store that fails is 503), parse a body before its signature
// holds, believe a header of identity from anybody but the terminator, or repeat
// what the caller sent in an error.
package receiver
