// Command bench measures what the whole pipeline costs beside the cheapest thing that could stand in its place, what a
// rotation of the client identity takes away from it, and what a handshake of our pool costs beside a bare one, on this
// machine, in this run, and prints one JSON object:
//
//	go run ./tests/bench
//	go run ./tests/bench -mode schemes     # only what signing costs, by scheme
//	go run ./tests/bench -mode keys        # only a minute of rotations of the signing keys
//
// # raw, pipeline and ratio
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
// producer, broker, services and receivers. handshakes counts, at the receivers, the connections that the rounds opened;
// reused_share and handshakes_per_thousand relate them to the deliveries. p50_ms and p99_ms are measured afterwards, at a
// steady rate, from just before the publish to the moment at which the receiver has the whole request, in the windows
// without a rotation.
//
// # rotation
//
// A real one, as `handfast identity rotate` does it: the assignment of identity "default" is written into the bucket, the
// dispatcher probes every endpoint with the next identity at its usual 10 a second, and moves each that accepts. One load
// runs through without a break:
//
//	quiet │ rotation │ rolled back, calm │ quiet │ rotation │ rolled back, calm │ quiet …
//
// The window of a rotation is from its start until the last of the 50 endpoints has cut over. Each goes to an identity
// that was never used before, so that its connections are all new, and each is compared with the two quiet windows beside
// it, taken together. The figures are the medians of these, and 1 means that a rotation changes nothing; less is worse:
//
//	throughput  arrivals a second during a rotation ÷ without, under as much load as goes through    target ≥ 0.9
//	p99         latency without a rotation ÷ during one, of the slowest 1 %, at the steady rate       target ≥ 0.9
//	seconds     how long a rotation took under full load
//	handshakes  how many there were meanwhile, of probes and of deliveries: what a loss is made of
//
// Their receivers are in this process, so that both halves of each handshake count against the throughput. A warning tells
// when attempts failed meanwhile.
//
// # handshake
//
// What it costs to open a connection, make one exchange on it and close it. Every handshake is a full one of TLS 1.3 with a
// client certificate, which the receivers check and count, and the run fails if they saw anything else:
//
//	bare  tls.Dialer and the exchange written by hand
//	pool  Pool.Do to a destination that the pool has never seen, with metrics on and traces sampled at 1 %
//
// Both make the exchange of a first delivery in HTTP/1.1: the header with an expectation, the receiver's 100, the body of
// 1 KiB, and its 204. Batches of both alternate and the ratios are the medians of the pairs' own: ratio is that of the
// wall time (target ≤ 1.2), one connection after the other, cpu_ratio that of the CPU time of the process. Both times hold
// the receiver's half, which is the same for both. concurrent is the same with four connections opening at a time; its
// times are those of all of them divided by their number.
//
// # schemes (-mode schemes)
//
// signing is what one signature of the same 1 KiB costs one goroutine, by scheme: nanoseconds, bytes and allocations.
//
// pipeline compares deliveries that are signed with one, two and four schemes side by side. There are 50 endpoints for each
// set, and one pipeline for all: its rounds and those of the raw loop alternate, in an order in which each comes after each
// other one equally often. For that the number of rounds is made a multiple of four.
//
//	ratio      throughput ÷ that of the raw loop, the median of the rounds' own
//	of_v1      throughput ÷ that of v1 alone in the same round           target for v1+v1a ≥ 0.9
//	cpu_of_v1  CPU time of the process for a delivery ÷ that of v1 alone
//
// On a machine with other work cpu_of_v1 is the steadier figure. It is also the harder one: the CPU time of a signature
// counts in full there, while throughput loses less as long as the pipeline waits for something else as well.
//
// # keys (-mode keys)
//
// Every key of v1 and v1a of all 50 endpoints is rotated every second for a minute, under full load, and retires for 4 s.
// The next key is published a second before it signs. Each receiver verifies both schemes of every request, on their own:
//
//	only_old  goes by keys whose successor signs already; it learns of a key at the last moment
//	only_new  goes by keys from their publication, and gives one up when its successor has taken over
//	both      goes by every key from its publication to its end
//
// What a receiver knows is what it knew at the time that stands in the request, so that it is the rotation that is judged
// and not how long a loaded machine lets requests wait; only_new allows 2 s, for signers that learn of a change a second
// later than others, and because that time has whole seconds. The run fails when one request was refused. The figures tell
// how much was verified by each kind of receiver and how many signatures of one scheme a request carried at most;
// throughput is lower than without rotations because every overlapping key signs, and every receiver verifies, in this
// process.
//
// # Never
//
// It must never leave out work that the services do, give the bare sides work that they need not do, or print a figure
// of a rotation in which nothing was delivered under the next identity.
package main
