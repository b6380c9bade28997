// Package embedded runs a NATS server with JetStream inside this process: for the demo, for development and for tests.
// It listens nowhere unless it is asked to, and then only on a loopback address.
package embedded
