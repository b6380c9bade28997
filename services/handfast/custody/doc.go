// Package custody lets signers sign with keys that stay in PKCS#11 tokens.
//
//	signature.Ring ── place "token:pkcs11:…", bytes ──▶ Tokens ──▶ token.Key ──▶ module
//
// A place comes from a sealed ring, and names a library that is loaded into this
// process. So the operator of each signer lists the libraries that it may load; what
// is not on that list is not loaded, whoever has sealed the ring.
//
// What this package must never do: load a module that the operator has not named,
// or answer with a signature of another key. (Whoever asks verifies that, too.)
package custody
