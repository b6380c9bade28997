// Package connection is how each command and service of the handfast binary reaches NATS: one set of flags, and two ways
// to use them.
//
//	Connect  a service    waits for NATS for as long as it takes, reconnects for ever, logs what is wrong
//	Dial     a command    answers at once: connected, or what is wrong and what to do
//
// A user's password and keys are read from files, and have no flags, because every process of a machine can read those of
// the others. NATS allows user information in a URL all the same; it must never be printed.
package connection
