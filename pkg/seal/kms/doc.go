// Package kms opens key management services by URL, to wrap and unwrap master keys.
//
//	URL ──▶ Open ──▶ Keeper ──▶ seal.MasterKey.Wrap    (handfast key master create)
//	                    │   └──▶ seal.WrappedKey.Open  (once, when a service starts)
//	                    ▼
//	   awskms · gcpkms · azurekeyvault · hashivault
//
// Who we are comes from where each service's own tools read it: the environment,
// a workload's role, VAULT_ADDR and VAULT_TOKEN. The URL names the key and holds
// no secret.
//
// The drivers are those of the Go CDK, and linked here only. Together they make
// the binary 27 % larger (39 to 50 MB, stripped), and a build from nothing about
// 15 % longer; none of them runs before a URL asks for it.
//
// What this package must never do: keep a plain key, put what it wraps or
// unwraps, in either form, into an error or a log, or link a driver whose URL is
// the key itself (base64key: it is for tests).
package kms
