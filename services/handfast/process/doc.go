// Package process is what every long-running handfast process has around its work: a named list of parts that are
// stopped in reverse, a private HTTP port for the machines that watch it, and a keeper that starts the work when what it
// needs is there.
//
//	         ┌── NATS away, or no streams ──┐   said in the log and at /readyz, tried again
//	         ▼                              │
//	waiting ──▶ starting ──▶ working ──▶ streams gone: the work is stopped, and started again when they are back
//	                            │
//	                            └── asked to stop ──▶ drained within a bound ──▶ ended
//
// A process must never exit because NATS is away: its supervisor would only start it again, into the same trouble.
package process
