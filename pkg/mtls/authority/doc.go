// Package authority is a small private certificate authority.
//
// It issues the client identities of a deployment that has its own CA, and the
// certificates of development and of tests: receivers' server certificates, and
// the deliberately bad ones.
//
//	root (path length 1) ──issues──▶ leaf          Issue:   with a new key
//	  └──▶ intermediate (path length 0)            Certify: for a public key
//	         └──issues──▶ leaf                     Answer:  for a signing request
//
// What comes out is PEM: the leaf followed by its intermediates, without the
// root, and, where a key was made, the leaf's key as PKCS #8. Keys are ECDSA P-256 and serial numbers
// are random. Time comes from the clock that an authority was given, so that it
// works in a bubble of testing/synctest.
//
// An authority must never be trusted by anybody but the people who run it, and
// it must never print its key. It keeps no record of what it issued and cannot
// revoke: its leaves are meant to be short-lived.
package authority
