// Command bench measures what the whole pipeline costs beside the cheapest thing that could stand in its place, on this
// machine, in this run, and prints one JSON object:
//
//	go run ./tests/bench
//
// Both sides post the same 1 KiB body to the same ten receivers over mutual TLS, the same number of times:
//
//	raw       net/http with keep-alive, an HMAC-SHA256 for every request, as many workers as are best for it
//	pipeline  producer ▶ EVENTS ▶ signer ▶ DELIVERIES ▶ dispatcher ▶ receiver, with a receipt for every attempt
//
// The pipeline is the services as they are wired on their own (signer.New, dispatcher.New) on an embedded broker with
// file storage: 50 endpoints, five to a receiver, each event for one of them, the v1 signature, metrics on, traces
// sampled at 1 %. A round of it ends when every request has arrived, every receipt is stored and no delivery is left in
// the broker, not when the last request is sent.
//
// The two are alternated for several rounds and the ratio is the median of the rounds' own ratios, so that a machine
// that grows slower or faster meanwhile does not decide. cpu_us is the CPU time of the whole process for a delivery:
// producer, broker, services and receivers. Latency is measured afterwards, at a steady rate, from just before the
// publish to the moment at which the receiver has the whole request.
//
// It must never leave out work that the services do, or give the raw loop work that it need not do.
package main
