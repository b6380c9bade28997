// Package authority is a small private certificate authority.
//
// It issues the certificates of development and of tests: client identities,
// receivers' server certificates, and the deliberately bad ones.
//
//	root (path length 1) ──issues──▶ leaf
//	  └──▶ intermediate (path length 0) ──issues──▶ leaf
//
// What comes out is PEM: the leaf followed by its intermediates, without the
// root, and the leaf's key as PKCS #8. Keys are ECDSA P-256 and serial numbers
// are random. Time comes from the clock that an authority was given, so that it
// works in a bubble of testing/synctest.
//
// An authority must never be trusted by anybody but the people who run it, and
// it must never print its key. It keeps no record of what it issued and cannot
// revoke: its leaves are meant to be short-lived.
package authority
