// Package connection is how each command and service of the handfast binary reaches NATS: one set of flags, and two ways
// to use them.
//
//	Connect  a service    waits for NATS for as long as it takes, reconnects for ever, logs what is wrong
//	Dial     a command    answers at once: connected, or what is wrong and what to do
//
// A user's password and keys are read from files, never from flags or the environment, where every process of the
// machine could see them. It must never print a server's URL with the user information in it.
package connection
