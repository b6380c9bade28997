package scenario

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// moves are the messages by which a service takes a delivery from one place to the next, acks included.
func moves(subject string) bool {
	for _, prefix := range []string{"deliveries.", "retries.", "deadletters.", "receipts.", "$JS.ACK.", "$KV.endpoints."} {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// stories are the ways that a delivery can go; each is told again with a crash before every single move.
var stories = []struct {
	name     string
	statuses []int
	schedule []string
	// dead tells that the delivery must end in DEADLETTERS.
	dead bool
}{
	{name: "delivered", statuses: []int{200}, schedule: []string{"5s", "5s", "5s"}},
	{name: "retried", statuses: []int{503, 503, 200}, schedule: []string{"5s", "3m", "5s"}},
	{name: "rejected", statuses: []int{400}, schedule: []string{"5s"}, dead: true},
	{name: "exhausted", statuses: []int{503}, schedule: []string{"5s"}, dead: true},
	{name: "gone", statuses: []int{410}, schedule: []string{"5s"}, dead: true},
}

// TestCrashBeforeEveryMove crashes the signer, then the dispatcher, before each of its moves in turn, starts another
// one, and looks where the delivery is at the end: in exactly one place, and never lost.
func TestCrashBeforeEveryMove(t *testing.T) {
	for _, story := range stories {
		for _, service := range []string{"signer", "dispatcher"} {
			var steps []string
			kit.Bubble(t, func(t *testing.T) {
				steps, _ = tell(t, story.statuses, story.schedule, service, -1, time.Hour, story.dead)
			})
			require.NotEmpty(t, steps, "the %s makes moves in the story %q", service, story.name)
			for at, step := range steps {
				name := fmt.Sprintf("%s/%s before move %d, %s", story.name, service, at, short(step))
				// At once: within the broker's duplicate windows. Later: after them, with every signature stale.
				for when, down := range map[string]time.Duration{"at once": time.Second, "later": 30 * time.Minute} {
					t.Run(name+", restarted "+when, func(t *testing.T) {
						kit.Bubble(t, func(t *testing.T) {
							_, crashed := tell(t, story.statuses, story.schedule, service, at, down, story.dead)
							assert.True(t, crashed, "the crash happened")
						})
					})
				}
			}
		}
	}
}

// TestACrashBetweenScheduleAndAckRepeatsNothing crashes a dispatcher after it has stored the next try and before its ack,
// while that next try is still far off. The broker hands the old message to another dispatcher, which must see that it
// has moved on.
func TestACrashBetweenScheduleAndAckRepeatsNothing(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 200))
		w.Apply(r.Document("acme", "orders", schedule("4m")))
		w.StartSigner(w.Broker.Option())
		gate := w.Gate(0, func(subject string) bool { return strings.HasPrefix(subject, "$JS.ACK.") })
		faulty := w.StartDispatcher(gate.Option())
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		<-gate.Down()
		faulty.Kill()
		w.StartDispatcher(w.Broker.Option())
		w.Pass(3 * time.Minute)
		assert.Len(t, r.Hits(), 1, "the message came again after AckWait, and was not sent again")
		assert.Zero(t, w.Count(stream.Deliveries))
		assert.Equal(t, 1, w.Count(stream.Retries))
		w.Pass(3 * time.Minute)
		assert.Len(t, r.Hits(), 2)
		assert.Zero(t, w.Count(stream.Retries))
	})
}

func short(subject string) string {
	parts := strings.Split(subject, ".")
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// tell runs one story to its end and judges it.
func tell(t *testing.T, statuses []int, schedule []string, service string, cutAt int, down time.Duration, dead bool) (steps []string, crashed bool) {
	t.Helper()
	w := kit.New(t)
	r := w.Receiver("hooks.example.com", kit.Answer(statuses...))
	w.Apply(r.Document("acme", "orders", func(d map[string]any) { d["retry"] = map[string]any{"schedule": schedule} }))
	gate := w.Gate(cutAt, moves)
	start := map[string]func() *kit.Service{
		"signer":     func() *kit.Service { return w.StartSigner(w.Broker.Option()) },
		"dispatcher": func() *kit.Service { return w.StartDispatcher(w.Broker.Option()) },
	}
	var faulty *kit.Service
	switch service {
	case "signer":
		faulty = w.StartSigner(gate.Option())
		start["dispatcher"]()
	case "dispatcher":
		start["signer"]()
		faulty = w.StartDispatcher(gate.Option())
	}
	w.Publish("acme", "com.acme.order.created", `{"order":1}`)
	select {
	case <-gate.Down():
		crashed = true
		faulty.Kill()
		w.Pass(down)
		start[service]()
		w.Pass(time.Hour)
	case <-time.After(time.Hour):
	}
	judge(t, w, r, statuses, dead)
	return gate.Steps(), crashed
}

func judge(t *testing.T, w *kit.World, r *kit.Receiver, statuses []int, dead bool) {
	t.Helper()
	hits := r.Hits()
	require.NotEmpty(t, hits, "the receiver has seen the delivery")
	for _, hit := range hits {
		assert.Equal(t, hits[0].Header.Get("webhook-id"), hit.Header.Get("webhook-id"), "webhook-id never changes")
	}
	// A crash repeats at most the attempt that was under way.
	assert.LessOrEqual(t, len(hits), len(statuses)+2, "attempts")
	assert.Zero(t, w.Count(stream.Deliveries), "nothing is left in DELIVERIES")
	assert.Zero(t, w.Count(stream.Retries), "nothing is left in RETRIES")
	if dead {
		assert.Equal(t, 1, w.Count(stream.DeadLetters), "the delivery is in DEADLETTERS, once")
		return
	}
	assert.Zero(t, w.Count(stream.DeadLetters), "nothing is dead")
	receipts := w.Receipts()
	require.NotEmpty(t, receipts)
	assert.Equal(t, http.StatusOK, receipts[len(receipts)-1].Status, "the last receipt tells of success")
}
