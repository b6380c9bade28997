package scenario

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

const ourOrigin = "webhooks.acme.example"

// consenting is a receiver with the abuse protection of HTTP 1.1 Web Hooks for Event Delivery, section 4, written from the
// specification. Its mind can be changed.
type consenting struct {
	*kit.Receiver

	pause time.Duration // for a message; set it before anything is sent

	mu      sync.Mutex
	allowed []string // WebHook-Allowed-Origin
	rate    []string // WebHook-Allowed-Rate
	status  int      // of messages
	after   string   // Retry-After of messages
	asked   []http.Header
	times   []time.Time
}

func consent(w *kit.World, host string) *consenting {
	c := &consenting{status: http.StatusNoContent}
	c.Receiver = w.Receiver(host, kit.Whole{Handler: http.HandlerFunc(c.serve)})
	return c
}

func (c *consenting) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodOptions {
		<-time.After(c.pause)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Method != http.MethodOptions {
		if c.after != "" {
			w.Header().Set("Retry-After", c.after)
		}
		w.WriteHeader(c.status)
		return
	}
	if len(r.Header.Values("WebHook-Request-Origin")) == 0 {
		w.WriteHeader(http.StatusMethodNotAllowed) // the pool asks on new connections what becomes of our certificate
		return
	}
	c.asked = append(c.asked, r.Header.Clone())
	c.times = append(c.times, time.Now())
	w.Header().Set("Allow", "POST")
	for _, origin := range c.allowed {
		w.Header().Add("WebHook-Allowed-Origin", origin)
	}
	for _, rate := range c.rate {
		w.Header().Add("WebHook-Allowed-Rate", rate)
	}
	w.WriteHeader(http.StatusOK)
}

// allow changes what is answered to OPTIONS; an empty text leaves the field out.
func (c *consenting) allow(origin, rate string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.allowed, c.rate = nil, nil
	if origin != "" {
		c.allowed = []string{origin}
	}
	if rate != "" {
		c.rate = []string{rate}
	}
}

// answer changes the status of messages.
func (c *consenting) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

func (c *consenting) questions() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]http.Header(nil), c.asked...)
}

func (c *consenting) questionTimes() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.times...)
}

func activation(setting map[string]any) func(map[string]any) {
	return func(d map[string]any) { d["activation"] = setting }
}

func cloudEvents(rate int) func(map[string]any) {
	setting := map[string]any{"kind": "cloudevents", "origin": ourOrigin}
	if rate > 0 {
		setting["rate"] = rate
	}
	return activation(setting)
}

// orders is what the bucket says about the endpoint of these stories.
func orders(t *testing.T, w *kit.World) endpoint.Registered {
	t.Helper()
	catalogue, err := w.Topology.OpenCatalogue(t.Context(), w.JS, nil)
	require.NoError(t, err)
	found, err := catalogue.Lookup(t.Context(), endpoint.Key{Tenant: "acme", Name: "orders"})
	require.NoError(t, err)
	return found
}

// numbers are the n of all messages, in the order in which they came.
func numbers(t *testing.T, hits []kit.Hit) []int {
	t.Helper()
	all := make([]int, 0, len(hits))
	for _, hit := range hits {
		all = append(all, number(t, hit))
	}
	return all
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func publish(w *kit.World, from, n int) {
	for i := range n {
		w.Publish("acme", "com.acme.order", fmt.Sprintf(`{"n":%d}`, from+i))
	}
}

func TestNothingIsSentToAReceiverThatHasNotAgreed(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Signer.TendInterval = time.Minute
		r := consent(w, "hooks.example.com")
		w.Apply(r.Document("acme", "orders", cloudEvents(120), limits(1, "10s")))
		w.Start()
		w.Pass(time.Second)
		publish(w, 0, 10)
		w.Pass(time.Hour)
		assert.Empty(t, r.Hits(), "no byte of an event")
		assert.Equal(t, 10, w.Count(stream.Backlog))
		assert.Empty(t, w.Receipts(), "waiting is no attempt")
		asked := r.questions()
		require.NotEmpty(t, asked)
		assert.Equal(t, []string{ourOrigin}, asked[0].Values("WebHook-Request-Origin"))
		assert.Equal(t, []string{"120"}, asked[0].Values("WebHook-Request-Rate"))
		assert.Less(t, len(asked), 15, "at doubling waits")
		times := r.questionTimes()
		assert.Equal(t, 5*time.Second, times[1].Sub(times[0]).Round(time.Second))
		assert.Equal(t, 10*time.Second, times[2].Sub(times[1]).Round(time.Second))
		held := orders(t, w)
		assert.False(t, held.Activated())
		require.NotNil(t, held.Status.Held)
		assert.Equal(t, "not_activated", held.Status.Held.Outcome)
		assert.Contains(t, held.Status.Held.Detail, "without WebHook-Allowed-Origin")
		assert.Contains(t, held.Status.Held.Advice, "handfast endpoint activate acme/orders")

		r.allow("somebody.else.example", "*")
		w.Pass(2 * time.Hour)
		assert.Empty(t, r.Hits())
		assert.Contains(t, orders(t, w).Status.Held.Detail, `allows "somebody.else.example", not our origin webhooks.acme.example`)

		r.allow(ourOrigin, "*")
		w.Pass(2 * time.Hour)
		assert.Equal(t, upTo(10), numbers(t, r.Hits()), "all of them, the oldest first")
		for _, hit := range r.Hits() {
			assert.Equal(t, []string{ourOrigin}, hit.Header.Values("WebHook-Request-Origin"), "every delivery names the origin (section 4.1.2)")
		}
		for _, got := range w.Receipts() {
			assert.Equal(t, delivery.Delivered, got.Outcome)
			assert.Equal(t, 1, got.Attempt)
		}
		active := orders(t, w)
		assert.True(t, active.Activated())
		assert.Nil(t, active.Status.Held)
		assert.Contains(t, active.Status.Activation.Said, "WebHook-Allowed-Origin: "+ourOrigin)
	})
}

func TestConsentIsInTheHeaderAlone(t *testing.T) {
	for name, c := range map[string]struct {
		origin, rate string
		active       bool
		perMinute    int
		reason       string
	}{
		"our origin":                    {ourOrigin, "100", true, 100, ""},
		"our origin in capitals":        {"WEBHOOKS.acme.Example", "100", true, 100, ""},
		"every origin":                  {"*", "*", true, 0, ""},
		"no rate, though one was asked": {ourOrigin, "", true, 60, ""},
		"a name that ours begins with":  {"webhooks.acme", "*", false, 0, "not our origin"},
		"a name that begins with ours":  {ourOrigin + ".evil.example", "*", false, 0, "not our origin"},
		"a list":                        {ourOrigin + ", *", "*", false, 0, "not our origin"},
		"a wildcard":                    {"*.acme.example", "*", false, 0, "not our origin"},
		"no origin":                     {"", "100", false, 0, "without WebHook-Allowed-Origin"},
		"a rate of none":                {ourOrigin, "0", false, 0, "neither a number"},
		"a rate below none":             {ourOrigin, "-5", false, 0, "neither a number"},
		"a rate in words":               {ourOrigin, "plenty", false, 0, "neither a number"},
	} {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				r := consent(w, "hooks.example.com")
				r.allow(c.origin, c.rate)
				w.Apply(r.Document("acme", "orders", cloudEvents(60)))
				w.Start()
				w.Pass(time.Second)
				publish(w, 0, 1)
				w.Pass(time.Minute)
				got := orders(t, w)
				assert.Equal(t, c.active, got.Activated())
				if !c.active {
					assert.Empty(t, r.Hits())
					assert.Contains(t, got.Status.Held.Detail, c.reason)
					return
				}
				assert.Len(t, r.Hits(), 1)
				assert.Equal(t, c.perMinute, got.Rate())
			})
		})
	}
}
