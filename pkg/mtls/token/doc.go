// Package token is about private keys that never leave a PKCS#11 token: an HSM, a smart card, SoftHSM. There are two things on
// top of one: a [Source] is a client identity, and a [Key] signs messages and has no certificate.
//
//	URI or Config ──▶ Open ──▶ Source ──▶ mtls.Identity ──▶ TLS handshake
//	                             │                            │ one signature
//	   certificate: PEM file,    │◀───────── Sign ────────────┘
//	   read again when it        ▼
//	   changes, or the      sessions of the token (a bounded number)
//	   token's own
//
//	URI or Config ──▶ NewKey ──▶ Key ── Sign(ctx, …) ──▶ the same sessions
//
// Either is in one of three states. [Source.Run] moves a Source along; a Key moves when it is asked to sign:
//
//	        token or session gone                 PIN refused
//	ready ─────────────────────────▶ lost ─────────────────────────▶ held
//	  ▲                                │ tried again after 1 s, 2 s,   │ the PIN's file or
//	  └────────────────────────────────┘ 4 s … 1 min                   │ variable changes
//	  └────────────────────────────────────────────────────────────────┘
//
// A session that ended while the token is still there (the HSM's daemon was restarted) is opened again within the
// signature that noticed it, five times at most within a second, so that no handshake fails. While a Source is lost or held, Identity
// says why in words, and so does every signature of a Key. A Key lets a bounded number of signatures wait.
//
// RSA and ECDSA go through crypto11; Ed25519, which that does not have, is done on the module itself (PKCS#11 3.0, CKM_EDDSA).
//
// What this package must never do:
//   - read a private key out of a token, or make one that could be read out.
//   - sign by another key than the one that it was opened with, whatever the token has under its name by now.
//   - try a PIN again that the token has refused: tokens lock themselves after a few wrong ones.
//   - take a PIN from a flag or a URI, or show one in an error, a log or however it is printed.
//   - wait without end: a module that hangs costs its own identity, and one thread a session at most.
//
// Modules are C libraries. A binary that was built without cgo has this package, too; its Open says what is missing.
package token
