// Package pipe joins two sides in memory as sockets do: with a buffer in each direction, because a TLS server writes before
// it reads, and with deadlines.
//
//	conn ── way, a buffer of some bytes ──▶ conn
//	     ◀────────────────── way ──────────
//
// It exists beside others' packages of that kind for one reason: it never makes a timer that is due at once. In a bubble of
// testing/synctest such a timer brings the race detector down (Go 1.26: SIGSEGV in runtime.(*timer).modify for a function,
// CHECK failed in tsan_rtl.cpp for a channel), once in some ten thousand times.
//
// It must never be used outside of tests: it has no limits but its buffers.
package pipe
