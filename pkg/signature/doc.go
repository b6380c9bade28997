// Package signature signs webhook requests and checks the signatures of others.
//
// A [Scheme] is one way to sign. It is shown the [Request] and its own keys and
// returns header fields; several schemes sign one request side by side:
//
//	           ┌── v1               (HMAC-SHA256) ── keys of v1 only ───┐
//	           ├── v1a              (Ed25519) ────── keys of v1a only ──┤
//	Request ───┼── rfc9421-ed25519  (Ed25519) ────── keys of its own ───┼── merge ──▶ []Field
//	           ├── stripe           (HMAC-SHA256) ── keys of its own ───┤
//	           └── …                                                    ┘
//
// The schemes, and what each of them signs beside the body:
//
//	v1, v1a           Standard Webhooks 1.0.0   id, time
//	rfc9421-ed25519, rfc9421-ecdsa-p256-sha256, rfc9421-hmac-sha256
//	                  RFC 9421 and RFC 9530     id, time, method, URL, content type
//	stripe, slack     the providers' formats    time
//	docusign, pagerduty, github, shopify        nothing
//	twilio            the URL, and the body by a digest in it (HMAC-SHA1: [Weak])
//	template          a header of one's own     what its [Template] says
//
// v1 is what every existing library verifies; v1a and the two asymmetric schemes
// of RFC 9421 cannot be forged by whoever verifies. The providers' formats are
// for receivers that verify them already. What a scheme does not sign, a receiver
// cannot believe: where no id is signed, nothing tells a replay.
//
// A signature of RFC 9421 covers a fixed list of components and has the tag
// "webhook"; each key adds one more label to the two fields:
//
//	"@method": POST
//	"@authority": example.com
//	"@path": /hooks/in
//	"@query": ?tenant=a
//	"content-type": application/json
//	"content-digest": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:
//	"webhook-id": msg_1
//	"@signature-params": ("@method" … "webhook-id");created=…;expires=…;keyid="…";tag="webhook"
//
// A [Key] belongs to one scheme, has an id and one of four states, and every key
// that is active or retiring signs, so that a rotation is an overlap which
// receivers do not notice (but see [OneKey]):
//
//	next ──▶ active ──▶ retiring
//	  │        │ ▲         │ │
//	  │        │ └─────────┘ │     (back to active: a rotation that was undone)
//	  └────────┴──▶ revoked ◀┘     (for good)
//
// A [Policy] says which algorithms may sign. Without one all may but the weak, which
// have to be named; whoever signs asks it first, and signs nothing that it refuses.
//
// A secret is read with its scheme and never guessed: the same text "whsec_…" is
// one key at Stripe and another one in Standard Webhooks; see [ParseSecret] and
// [Lookalike].
//
// A [Ring] is the keys of one endpoint. At rest it is sealed by [Ring.Seal]
// under a [MasterKey] and bound to its endpoint, so that a sealed ring copied to
// another endpoint does not open. Sealing does not stop somebody who can write
// to the store from putting an older sealed ring of the same endpoint back; the
// store's access rules have to.
//
// A private key may stay where nobody reads it out, in a PKCS#11 token. The ring
// then holds its place and its public half ([KeyInCustody]), and [Ring.Bind] says
// whom to ask. What comes back is verified before it is used:
//
//	Key "token:pkcs11:…" ── bytes to sign ──▶ Custody ──▶ token
//	      public half ◀──── signature ────────────┘
//	      verifies it? ── no ──▶ [ErrCustody]: nothing is signed, the delivery waits
//
// Receivers use [Verify] with one [Verifier] for each key they accept.
//
// What this package must never do: sign with nothing (a scheme without an active
// key is an error), sign by another key for one whose token is away, show a scheme
// the key of another scheme, let a request choose the algorithm, or print a secret.
// The only ways to see a secret are
// [Key.Reveal] and [MasterKey.Reveal], named so that a search finds every caller.
// It knows nothing of brokers, tenants or events, and imports only package seal and
// the standard library.
package signature
