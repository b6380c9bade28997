// Package endpoint is the receiver's side of Handfast's configuration: a
// document that says where to deliver, which events, how to sign, whom to trust
// and how long to retry; and the registry of all of them that a service reads
// on every event.
//
//	document (YAML or JSON, ≤ 64 KiB)
//	   │ decode     one document, no duplicate keys, no nulls, no aliases
//	   │ shape      schemas/endpoint.schema.json (draft 2020-12)
//	   │ meaning    URL and host, patterns, CESQL, certificates, pins, waits
//	   ▼
//	Parse ──▶ *InvalidError   every problem at once, each with its path
//	      └─▶ *Endpoint       compiled, immutable ──Put──▶ Registry ──Tenant──▶ Match
//
// # Choices
//
//   - A null is refused, never taken for "absent": "pins:" with nothing after it
//     would otherwise drop the pins silently. For the same reason an empty list
//     of types is refused and not read as "every event".
//   - YAML is read by the rules of YAML 1.2 for words like yes and no (they are
//     text), and anchors with aliases, merge keys, own tags and a second
//     document in the file are refused.
//   - Parse is for what a person applies today; Restore is for a document that
//     was accepted and stored before. They differ in what time or a new rule can
//     do to a document: Parse refuses a root that has expired, a scheme whose
//     algorithm signature.algorithms does not allow, and a scheme that retires too
//     late; Restore does not, so that an endpoint never vanishes on a restart. The
//     handshake then fails in words and the delivery is held; nothing is signed
//     with what the policy refuses (Signature.Refused), and deliveries wait.
//   - hmac-sha1 signs only where signature.algorithms names it. That a document
//     lists twilio is not enough: the one who applies it has to have read that it
//     is weak. There is no list of documents that are older than the rule.
//   - A scheme that is removed goes on signing until the instant in
//     signature.retiring, which stands in the document: one write changes both,
//     every signer sees both at once, and a restart changes nothing.
//   - A CESQL filter is checked when it is parsed: every character, every
//     function's name and number of arguments. While an event is matched, an
//     error (a missing attribute, a failed cast) means: not delivered, and a
//     *FilterError for the caller to record.
//   - A receiver's consent (Activated) is for one ActivationMark: what it was asked,
//     where, and by whom. Any other document waits until it has agreed to that one;
//     so does one that it had switched off since. Whoever reads a Registered sees
//     it in Waiting, without a write by anybody.
//   - A disabled endpoint is one whose Status names the revision that it has now.
//     Applying the document again gives it a new revision, which enables it.
//
// # Never
//
// The package never opens a connection or resolves a name, never knows NATS,
// never repeats a URL's path, query or user name in a message or a log line
// (they are often secrets), and never decides whether an address is allowed:
// that is judged when it is dialled.
package endpoint
