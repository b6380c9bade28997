// Package kit builds a whole Handfast inside one test: a real embedded JetStream, a real certificate authority, real
// receivers behind real mutual TLS, and the real services, all of them joined in memory so that they run in a
// testing/synctest bubble, where hours of retries take milliseconds.
//
//	kit.Bubble(t, func(t *testing.T) {
//	    w := kit.New(t)
//	    r := w.Receiver("hooks.example.com", kit.Answer(503, 503, 200))
//	    w.Apply(r.Document("acme", "orders"))
//	    w.Start()
//	    w.Publish("acme", "com.acme.order.created", `{"order":1}`)
//	    …
//	})
//
// One thing in a bubble is not as in life: the broker expires messages by a clock of its own, which is the real one here,
// and may throw a whole stream away at the moment at which its first message reaches the stream's age (EVENTS 7 days,
// RECEIPTS 30). Stories that last longer switch everything off over those moments (World.Sleep), or say what they rely on.
package kit
