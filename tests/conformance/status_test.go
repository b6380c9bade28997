package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

const (
	// late is how long after its time the broker may fire a schedule (its timer's grain is 250 ms).
	late = 300 * time.Millisecond
	// elsewhere is where redirects lead; nobody may ever call there.
	elsewhere = "elsewhere.example.com"
	// wait is the schedule's first, of two.
	wait = 10 * time.Second
)

// next is what must follow an answer.
type next uint8

const (
	done next = iota + 1
	again
	dead
)

// answer is one answer of a receiver and what it means.
type answer struct {
	status  int
	header  map[string]string
	page    string
	outcome delivery.Outcome
	next    next
	// after is the least wait before the next attempt; zero for the schedule's.
	after time.Duration
	// inferred tells that the receiver did not say it in so many words.
	inferred bool
}

func (a answer) String() string {
	words := []string{strconv.Itoa(a.status)}
	for key, value := range a.header {
		words = append(words, key, value)
	}
	return strings.TrimSpace(strings.Join(append(words, a.page), " "))
}

func after(value string) map[string]string { return map[string]string{"Retry-After": value} }

func answers() []answer {
	var all []answer
	for _, status := range []int{200, 202, 204, 299} {
		all = append(all, answer{status: status, outcome: delivery.Delivered, next: done})
	}
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		location := map[string]string{"Location": "https://" + elsewhere + "/hooks"}
		all = append(all, answer{status: status, header: location, outcome: delivery.Redirected, next: again})
	}
	for _, status := range []int{400, 401, 403, 404, 409, 413, 422, 451} {
		all = append(all, answer{status: status, outcome: delivery.Rejected, next: dead})
	}
	for _, status := range []int{408, 425, 500, 502, 503, 504, 599} {
		all = append(all, answer{status: status, outcome: delivery.Unavailable, next: again})
	}
	refused := delivery.ClientCertificateRefused
	return append(all,
		answer{status: 421, outcome: refused, next: again, inferred: true},
		answer{status: 495, outcome: refused, next: again},
		answer{status: 496, outcome: refused, next: again},
		answer{status: 400, page: "<center>No required SSL certificate was sent</center>", outcome: refused, next: again},
		answer{status: 400, page: "<center>The SSL certificate error</center>", outcome: refused, next: again},

		answer{status: 429, outcome: delivery.Throttled, next: again},
		answer{status: 429, header: after("90"), outcome: delivery.Throttled, next: again, after: 90 * time.Second},
		answer{status: 429, header: after("1"), outcome: delivery.Throttled, next: again},
		answer{status: 429, header: after("0"), outcome: delivery.Throttled, next: again},
		answer{status: 429, header: after("-5"), outcome: delivery.Throttled, next: again},
		answer{status: 429, header: after("soon"), outcome: delivery.Throttled, next: again},
		answer{status: 429, header: after("864000"), outcome: delivery.Throttled, next: again, after: 24 * time.Hour},
		answer{status: 429, header: after("Fri, 31 Dec 1999 23:59:59 GMT"), outcome: delivery.Throttled, next: again},
		answer{status: 503, header: after("3600"), outcome: delivery.Unavailable, next: again, after: time.Hour},
		answer{status: 408, header: after("120"), outcome: delivery.Unavailable, next: again, after: 2 * time.Minute},
		answer{status: 425, header: after("120"), outcome: delivery.Unavailable, next: again, after: 2 * time.Minute},
	)
}

// reply answers so the first n times, and then well.
func (a answer) reply(n int) http.HandlerFunc {
	good := kit.Answer(200)
	return func(w http.ResponseWriter, r *http.Request) {
		if n == 0 {
			good(w, r)
			return
		}
		n--
		for key, value := range a.header {
			w.Header().Set(key, value)
		}
		w.WriteHeader(a.status)
		if a.page != "" {
			_, _ = io.WriteString(w, a.page)
		}
	}
}

func schedule(waits ...string) func(map[string]any) {
	return func(d map[string]any) { d["retry"] = map[string]any{"schedule": waits} }
}

// TestWhatAnAnswerMeans has each answer once, and a good one after it.
func TestWhatAnAnswerMeans(t *testing.T) {
	for _, a := range answers() {
		t.Run(a.String(), func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				other := w.Receiver(elsewhere, kit.Answer(200))
				r := w.Receiver("hooks.example.com", a.reply(1))
				w.Apply(r.Document("acme", "orders", schedule("10s", "20s")))
				w.Start()
				w.Pass(time.Second)
				w.Publish("acme", "com.acme.order.created", `{"order":1}`)
				w.Pass(time.Minute + a.after + a.after/10)

				receipts := w.Receipts()
				require.NotEmpty(t, receipts)
				first := receipts[0]
				assert.Equal(t, a.outcome, first.Outcome)
				assert.Equal(t, a.status, first.Status)
				assert.Equal(t, a.inferred, first.Origin == delivery.Inferred, "origin %s", first.Origin)
				assert.NotEqual(t, delivery.Ours, first.Origin)
				assert.Zero(t, w.Network.Dials(other.Address), "a redirect is never followed, not even by a connection")
				assert.Empty(t, other.Hits())
				judgeNext(t, w, a, r.Hits())
				assert.Zero(t, w.Count(stream.Deliveries))
				assert.Zero(t, w.Count(stream.Retries))
			})
		})
	}
}

// judgeNext looks at what came after the first answer.
func judgeNext(t *testing.T, w *kit.World, a answer, hits []kit.Hit) {
	t.Helper()
	first := w.Receipts()[0]
	if a.next == again {
		assert.Empty(t, w.DeadLetters())
		require.Len(t, hits, 2)
		assert.Equal(t, []delivery.Outcome{a.outcome, delivery.Delivered}, w.Outcomes())
		if a.outcome == delivery.ClientCertificateRefused && !a.inferred {
			// The endpoint is held: the receipt tells when a handshake is tried, which is accepted here.
			assert.Equal(t, 5*time.Second, first.Next.Sub(first.At.Add(first.Duration)).Round(time.Second))
			assert.False(t, hits[1].At.Before(*first.Next), "never early")
			assert.Less(t, hits[1].At.Sub(*first.Next), late)
			return
		}
		judgeInstant(t, first, hits[1].At, max(a.after, wait))
		return
	}
	assert.Nil(t, first.Next)
	require.Len(t, hits, 1, "nothing follows")
	require.Len(t, w.Receipts(), 1)
	letters := deadLetters(t, w)
	if a.next == done {
		assert.Empty(t, letters)
		return
	}
	require.Len(t, letters, 1)
	judgeLetter(t, letters[0], hits[0], a.outcome)
	assert.Contains(t, letters[0].Reasons[0], fmt.Sprintf("HTTP %d", a.status))
}

// judgeInstant holds the next attempt to its exact time: no earlier than the wait, no more than a tenth later, and to
// the nanosecond what the receipt foretold.
func judgeInstant(t *testing.T, before receipt.Receipt, at time.Time, wait time.Duration) {
	t.Helper()
	ended := before.At.Add(before.Duration)
	require.NotNil(t, before.Next, "the receipt tells when")
	assert.GreaterOrEqual(t, before.Next.Sub(ended), wait, "never earlier than asked")
	assert.LessOrEqual(t, before.Next.Sub(ended), wait+wait/10, "jitter only lengthens, by a tenth at most")
	policy := delivery.Policy{Schedule: []time.Duration{wait}, Horizon: stream.Horizon}
	d := delivery.Delivery{ID: before.Delivery, Attempt: before.Attempt, First: before.First}
	want := policy.Next(d, delivery.Verdict{Outcome: before.Outcome}, ended).At
	assert.Equal(t, want.UTC(), before.Next.UTC(), "the instant of the policy")
	assert.False(t, at.Before(*before.Next), "never early")
	assert.Less(t, at.Sub(*before.Next), late)
}

func deadLetters(t *testing.T, w *kit.World) []delivery.DeadLetter {
	t.Helper()
	stored := w.DeadLetters()
	all := make([]delivery.DeadLetter, len(stored))
	for i, data := range stored {
		require.NoError(t, json.Unmarshal(data, &all[i]))
	}
	return all
}

// judgeLetter wants the whole request in a dead letter, as it was sent.
func judgeLetter(t *testing.T, letter delivery.DeadLetter, hit kit.Hit, outcome delivery.Outcome) {
	t.Helper()
	require.NotNil(t, letter.Outcome)
	assert.Equal(t, outcome, *letter.Outcome)
	body, whole := letter.Body.Bytes()
	assert.True(t, whole)
	assert.Equal(t, hit.Body, body)
	kept := http.Header{}
	for name, values := range letter.Header {
		kept[http.CanonicalHeaderKey(name)] = values
	}
	for _, name := range []string{"Content-Type", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		assert.Equal(t, hit.Header[name], kept[name], name)
	}
}

// TestRetryAfterAsADate answers with a date, whose distance is known only when it is asked.
func TestRetryAfterAsADate(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				var date time.Time
				r := w.Receiver("hooks.example.com", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					if date.IsZero() {
						date = time.Now().Add(15*time.Minute + time.Second).Truncate(time.Second)
						rw.Header().Set("Retry-After", date.UTC().Format(http.TimeFormat))
						rw.WriteHeader(status)
					}
				}))
				w.Apply(r.Document("acme", "orders", schedule("10s")))
				w.Start()
				w.Pass(time.Second)
				w.Publish("acme", "com.acme.order.created", `{"order":1}`)
				w.Pass(20 * time.Minute)
				hits, receipts := r.Hits(), w.Receipts()
				require.Len(t, hits, 2)
				assert.False(t, hits[1].At.Before(date), "not before the date")
				judgeInstant(t, receipts[0], hits[1].At, date.Sub(receipts[0].At.Add(receipts[0].Duration)))
			})
		})
	}
}

// TestWhatCountsOnTheSchedule answers always the same. What the receiver says uses the schedule up; a certificate that
// it does not accept never does.
func TestWhatCountsOnTheSchedule(t *testing.T) {
	const tries = 5
	for _, a := range answers() {
		// One answer of each kind.
		if a.next != again || a.header["Retry-After"] != "" || !slices.Contains([]int{302, 400, 408, 421, 429, 496, 503}, a.status) {
			continue
		}
		t.Run(a.String(), func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				r := w.Receiver("hooks.example.com", a.reply(tries))
				w.Apply(r.Document("acme", "orders", schedule("10s", "20s")))
				w.Start()
				w.Pass(time.Second)
				w.Publish("acme", "com.acme.order.created", `{"order":1}`)
				w.Pass(2 * time.Minute)
				if a.outcome == delivery.ClientCertificateRefused {
					w.Pass((tries - 2) * (delivery.HoldInterval + delivery.HoldInterval/10))
				}
				hits, letters := r.Hits(), deadLetters(t, w)
				if a.outcome == delivery.ClientCertificateRefused {
					assert.Empty(t, letters, "held")
					assert.Len(t, hits, tries+1, "until the receiver accepts")
					return
				}
				require.Len(t, hits, 3, "the first attempt and two retries")
				require.Len(t, letters, 1)
				judgeLetter(t, letters[0], hits[2], a.outcome)
				assert.Contains(t, letters[0].Reasons[0], "all 3 attempts are used up")
			})
		})
	}
}
