// Package token is a client identity whose private key never leaves a PKCS#11 token: an HSM, a smart card, SoftHSM.
//
//	URI or Config ──▶ Open ──▶ Source ──▶ mtls.Identity ──▶ TLS handshake
//	                             │                            │ one signature
//	   certificate: PEM file,    │◀───────── Sign ────────────┘
//	   read again when it        ▼
//	   changes, or the      sessions of the token (a bounded number)
//	   token's own
//
// A Source is in one of three states, and [Source.Run] moves it along:
//
//	        token or session gone                 PIN refused
//	ready ─────────────────────────▶ lost ─────────────────────────▶ held
//	  ▲                                │ tried again after 1 s, 2 s,   │ the PIN's file or
//	  └────────────────────────────────┘ 4 s … 1 min                   │ variable changes
//	  └────────────────────────────────────────────────────────────────┘
//
// A session that ended while the token is still there (the HSM's daemon was restarted) is opened again within the
// signature that noticed it, five times at most within a second, so that no handshake fails. While a Source is lost or held, Identity says why in words.
//
// What this package must never do:
//   - read a private key out of a token, or make one that could be read out.
//   - try a PIN again that the token has refused: tokens lock themselves after a few wrong ones.
//   - take a PIN from a flag or a URI, or show one in an error, a log or however it is printed.
//   - wait without end: a module that hangs costs its own identity, and one thread a session at most.
//
// Modules are C libraries. A binary that was built without cgo has this package, too; its Open says what is missing.
package token
