// Package listener is a receiver of webhooks for development: what `handfast listen` runs.
//
//	connection ──▶ mutual TLS with the development authority ── none, or another's ──▶ refused, and told
//	           ──▶ a name in the certificate that may call, compared whole ── none ──▶ refused, and told
//	           ──▶ show the handshake in full
//	OPTIONS, GET of a sender that asks before it delivers ──▶ consent, unless told to refuse
//	request    ──▶ signature by the endpoint's keys   verified · unverified (why) · unchecked (no keys asked for)
//	           ──▶ wait --delay ──▶ answer, the statuses in turn, the last one for ever ──▶ show
//
// A request whose signature does not hold is answered with 401, as a real receiver would, and one that cannot be checked
// at the moment with 503, whatever answer was asked for.
//
// It must never be given to the internet, and never show a key. It can make certificates, because it runs where the
// development authority lies.
package listener
