// Package identity keeps the client certificates that Handfast presents: what is
// stored of them, how the next one is got, and which one is presented now.
//
// They stand in one bucket, each entry one line of JSON with its keys sealed and
// bound to the entry's own key, so that no entry opens in another's place:
//
//	identity.<name>   Record: certificate chain, sealed key, where it came from
//	authority.<name>  Authority: a private CA's root and its sealed key
//
// An identity comes from one of three origins, and its life is the same:
//
//	Create  (our authority issues) ──────────────▶ active ──Retire──▶ retired
//	Import  (PEM or PKCS #12) ───────────────────▶ active              (keys gone)
//	Request (key and CSR) ─▶ pending ──Install───▶ active
//
//	active ──Renew──▶ active                     our authority, without being asked,
//	                                             at two thirds of the life
//	active ──RequestSuccessor──▶ active, a new   the old certificate stays in use
//	         key waits ──Install──▶ active       until the answer is installed
//
// An [Authority] is active, then retiring (it renews what it issued and takes on
// nothing new), then retired. [Bundle] is what receivers are given to trust.
//
// Whoever presents certificates keeps a [Book], which is fed with the bucket's
// entries and hands out an mtls.Source for each name:
//
//	bucket ──Put, Remove──▶ Book ──Source──▶ pool of connections
//	   ▲                      │ Due
//	   └──compare and set── Renewer
//
// Any number of renewers may run: who stores first wins, and the others drop what
// they made. A bad new record never replaces a good one; a retired identity stops
// at once.
//
// What this package must never do: print, log or store a key that is not sealed,
// and not print a sealed one either; present a certificate after its end or after
// it retired; fall back to another identity. It knows nothing of NATS, endpoints
// or deliveries.
package identity
