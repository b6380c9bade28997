// Package seal keeps secrets closed while they lie in a store.
//
//	secret bytes ── MasterKey.Seal(context) ──▶ one line of JSON:
//	                                            {"v":1,"kid":"…","nonce":"…","ciphertext":"…"}
//
// The cipher is AES-256-GCM with a fresh random nonce. The envelope names the
// master key that closed it, and is bound to a context: the place where it is
// stored. Sealed bytes that are copied to another place do not open there.
//
// A [Vault] is the current master key and the ones before it, so that a master
// key can be changed while what the old one sealed still stands in the store:
//
//	Current: new, Previous: [old]  ──▶  seal again what is Stale  ──▶  Current: new
//
// A master key may lie in a file wrapped, which is to say encrypted by a key
// management service ([MasterKey.Wrap], [WrappedKey]). The service is asked once,
// when a process starts, so that no call of it stands where things are signed, and
// the plain key never touches a disk:
//
//	file: wrapped key ──▶ WrappedKey.Open ──▶ MasterKey (in memory)
//	                            │ Decrypt, once
//	                            ▼
//	                      Wrapper: the KMS
//
// Sealing does not stop somebody who can write to the store from putting an
// older sealed secret of the same place back; the store's access rules have to.
//
// What this package must never do: print a master key or a plaintext, in an
// error either. The only way to see a master key is [MasterKey.Reveal], named so
// that a search finds every caller. It knows nothing of what it seals and
// imports only the standard library.
package seal
