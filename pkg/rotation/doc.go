// Package rotation moves endpoints from one client identity to the next, each of
// them only after it has proved that it accepts the next one. No delivery fails
// because of it, and nobody has to pick a night for it.
//
// Endpoints name an identity, such as "default". An [Assignment] says which
// identity that name stands for now, and holds the rotation in progress:
//
//	                    pause
//	          ┌──────────────────────────▶ paused ─────┐
//	 Start    │            resume              │       │
//	───────▶ running ◀─────────────────────────┘       │ roll back
//	          │   │                                    │
//	          │   └─────────── roll back ──────────▶ rolling_back
//	          │                                        │
//	          │ every live endpoint accepted           │ the leading dispatcher
//	          ▼                                        ▼
//	         completed: uses = to                     rolled_back: uses as before
//
// Each live endpoint has a [Status] in that rotation. A status of another
// rotation, or of another receiver under the same name ([Mark]), counts as
// waiting.
//
//	                refusal, in words            network, server certificate
//	         ┌─────────────────────────┐    ┌──────────────────────────┐
//	         ▼                         │    │                          ▼
//	      refused ◀── probe ────────  waiting  ─────── probe ──▶ unreachable
//	       │  ▲                         │                          │
//	       │  │ an attempt fell         │ probe                    │ probe
//	probe, │  │                         ▼                          │
//	or by  └──┴────────────────────▶ accepted ◀────────────────────┘
//	hand
//
//	presented:  waiting, refused, unreachable ─▶ uses       accepted ─▶ to
//
// # Who does what
//
// All state stands in a store with compare-and-set, one entry per identity and one
// per endpoint. A [Board] is one process's view of it and answers, for each
// attempt, what to present. A [Runner], one per dispatcher, probes the endpoints
// that its dispatcher owns, stores what it found, and, if it leads, ends the
// rotation. Nothing is lost with a Runner: a restart reads the store and goes on.
// Two Runners that both believe to own an endpoint cost one probe too many: only
// one of their writes is accepted.
//
// # Choices
//
//   - Completion and rollback are one write of one entry, so that every dispatcher
//     sees it whole or not at all.
//   - Completion waits until every acceptance is some seconds old (Setup.Settle):
//     a receiver with several machines, of which some refuse, shows it by then. A
//     fall that is found later than the completion has nothing to fall back to: the
//     endpoint is held like any that refuses our certificate.
//   - An acceptance is worth nothing once the document leads to another receiver.
//   - A fall is believed at once by the dispatcher that saw it, before it is stored.
//   - An endpoint that accepts the probe and refuses deliveries, over and over, is
//     probed ever more rarely ([Backoff] counts falls, too).
//
// # Never
//
// The package never presents an identity that an endpoint has not proved, never
// guesses while it has not read the store (it then names no identity at all, and
// the delivery is held), never holds a lock while something is probed or stored,
// never knows NATS, and never sees a certificate or a key.
package rotation
