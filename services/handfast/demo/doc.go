// Package demo tells the story of Handfast in four acts, on real components: an embedded NATS server with JetStream, a
// development authority, receivers that require mutual TLS on loopback, and a producer that uses nothing but nats.go.
//
//	1  events are delivered, each over mutual TLS, each signature verified by its receiver
//	2  a receiver answers 503 twice: the retries come when they are due, signed afresh, under the same webhook-id
//	3  receivers with which no mutual trust exists get nothing, and nothing is dropped; one is mended
//	4  the trace of one delivery, from the producer's span to the receiver's
//
// An act that does not end as it must makes the demo fail.
package demo
