// Package signature signs webhook requests and checks the signatures of others.
//
// A [Scheme] is one way to sign. It is shown the [Request] and its own keys and
// returns header fields; several schemes sign one request side by side:
//
//	           ┌── scheme v1  (HMAC-SHA256) ── keys of v1 only ──┐
//	Request ───┤                                                 ├── merge ──▶ []Field
//	           └── scheme v1a (Ed25519) ───── keys of v1a only ──┘
//
// Both schemes are those of Standard Webhooks 1.0.0: they sign the bytes
// "<webhook-id>.<webhook-timestamp>.<body>" and share the field
// webhook-signature. v1 is what every existing library verifies; v1a is what
// cannot be forged by whoever verifies.
//
// A [Key] has an id and one of four states, and every key that is active or
// retiring signs, so that a rotation is an overlap which receivers do not notice:
//
//	next ──▶ active ──▶ retiring
//	  │        │ ▲         │ │
//	  │        │ └─────────┘ │     (back to active: a rotation that was undone)
//	  └────────┴──▶ revoked ◀┘     (for good)
//
// A [Ring] is the keys of one endpoint. At rest it is sealed by [Ring.Seal]
// under a [MasterKey] and bound to its endpoint, so that a sealed ring copied to
// another endpoint does not open. Sealing does not stop somebody who can write
// to the store from putting an older sealed ring of the same endpoint back; the
// store's access rules have to.
//
// Receivers use [VerifyStandard] with one [Verifier] for each key they accept.
//
// What this package must never do: sign with nothing (a scheme without an active
// key is an error), show a scheme the key of another scheme, or print a secret.
// The only ways to see a secret are [Key.Reveal] and [MasterKey.Reveal], named
// so that a search finds every caller. It knows nothing of brokers, tenants or
// events and imports only the standard library.
package signature
