package scenario

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// customer is a receiver of a provider that we stand in for. It judges each message three times on its arrival: as one who
// knows only the oldest of the provider's keys, one who knows only the newest, and one who knows all of them. None of that
// is our code.
type customer struct {
	*kit.Receiver

	key endpoint.Key
	// verify accepts what one of the secrets has signed, as the provider documents it.
	verify verification
	// fails makes one in so many messages fail once, so that the retry is signed again by the keys of its own moment.
	fails int

	mu       sync.Mutex
	keys     []signature.Key // that sign, oldest first
	seen     int
	failed   map[string]bool // by body
	accepted map[knowledge]int
	troubles []string
}

type verification = func(secrets []string, r *http.Request, body []byte) error

func newCustomer(name string, verify verification, fails int) *customer {
	return &customer{key: endpoint.Key{Tenant: "acme", Name: name}, verify: verify, fails: fails, failed: map[string]bool{}, accepted: map[knowledge]int{}}
}

func (c *customer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.troubles = append(c.troubles, err.Error())
	}
	c.seen++
	for _, knows := range []knowledge{onlyOld, onlyNew, both} {
		secrets := c.secrets(knows)
		if err := c.verify(secrets, r, body); err != nil {
			c.troubles = append(c.troubles, fmt.Sprintf("%s, message %d, knowledge %d of %d keys: %v", time.Now(), c.seen, knows, len(secrets), err))
			continue
		}
		c.accepted[knows]++
		changed := slices.Clone(body)
		changed[c.seen%len(changed)] ^= 1
		if c.verify(secrets, r, changed) == nil {
			c.troubles = append(c.troubles, "a changed body is accepted")
		}
		if c.verify([]string{"another secret than any of the provider's"}, r, body) == nil {
			c.troubles = append(c.troubles, "a stranger's signature is accepted")
		}
	}
	if c.seen%c.fails == 0 && !c.failed[string(body)] {
		c.failed[string(body)] = true
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// secrets is called with the lock held.
func (c *customer) secrets(knows knowledge) []string {
	now := time.Now()
	var all []string
	for _, k := range c.keys {
		if k.Signs(now) {
			all = append(all, k.Reveal())
		}
	}
	switch {
	case len(all) == 0:
	case knows == onlyOld:
		all = all[:1]
	case knows == onlyNew:
		all = all[len(all)-1:]
	}
	return all
}

// told brings the customer up to date, and returns how many keys sign now.
func (c *customer) told(l locksmith) int {
	l.w.T.Helper()
	ring, err := l.Keys(l.w.T.Context(), c.key, l.w.Vault)
	require.NoError(l.w.T, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = slices.DeleteFunc(ring.Keys(), func(k signature.Key) bool { return !k.Signs(time.Now()) })
	slices.SortStableFunc(c.keys, func(a, b signature.Key) int { return a.Created.Compare(b.Created) })
	return len(c.keys)
}

// content requires that all was verified, in each way, and that nothing was lost on the way.
func (c *customer) content(w *kit.World, traffic *kit.Traffic, sent int) {
	w.T.Helper()
	assert.Empty(w.T, c.troubles)
	assert.Equal(w.T, map[knowledge]int{onlyOld: c.seen, onlyNew: c.seen, both: c.seen}, c.accepted)
	assert.Equal(w.T, c.seen-sent, traffic.Arrived(c.Receiver), "what came twice is what was answered 503")
	for _, hit := range c.Hits() {
		assert.Equal(w.T, kit.ClientName, hit.Client)
	}
	delivered := 0
	for _, outcome := range w.Outcomes() {
		if outcome == delivery.Delivered {
			delivered++
		} else {
			assert.Equal(w.T, delivery.Unavailable, outcome)
		}
	}
	assert.Equal(w.T, sent, delivered)
	assert.Zero(w.T, w.Count(stream.Retries)+w.Count(stream.DeadLetters)+w.Count(stream.Backlog)+w.Count(stream.Deliveries))
}

var (
	errNotTheirs  = errors.New("no signature in the request was made with a known key")
	errIncomplete = errors.New("the request is not as the provider documents it")
)

// docuSignConnect is a listener for DocuSign Connect as DocuSign documents it: base64 of HMAC-SHA256 over the whole raw
// body under the bytes of the key's text, one header for each active key from 1 on without a gap, and one match is enough.
func docuSignConnect(secrets []string, r *http.Request, body []byte) error {
	if got := r.Header.Values("x-authorization-digest"); len(got) != 1 || got[0] != "HMACSHA256" {
		return fmt.Errorf("%w: x-authorization-digest: %q", errIncomplete, got)
	}
	var made []string
	for n := 1; r.Header.Get("X-DocuSign-Signature-"+strconv.Itoa(n)) != ""; n++ {
		values := r.Header.Values("X-DocuSign-Signature-" + strconv.Itoa(n))
		if len(values) != 1 || slices.Contains(made, values[0]) {
			return fmt.Errorf("%w: signature %d: %q", errIncomplete, n, values)
		}
		made = append(made, values[0])
	}
	for name := range r.Header {
		number, ok := strings.CutPrefix(name, "X-Docusign-Signature-")
		if n, err := strconv.Atoi(number); ok && (err != nil || n < 1 || n > len(made)) {
			return fmt.Errorf("%w: %s after %d signatures", errIncomplete, name, len(made))
		}
	}
	for _, secret := range secrets {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write(body)
		want := []byte(base64.StdEncoding.EncodeToString(h.Sum(nil)))
		for _, value := range made {
			if hmac.Equal(want, []byte(value)) {
				return nil
			}
		}
	}
	return errNotTheirs
}

// imported is a secret as DocuSign shows one in its administration: 32 bytes in base64, whose text is the key.
func imported(n int) string {
	digest := sha256.Sum256([]byte("secret " + strconv.Itoa(n) + " of the provider"))
	return base64.StdEncoding.EncodeToString(digest[:])
}

// TestDocuSignMoves is a provider that has signed as DocuSign does and moves to Handfast with the secrets that its customers
// hold. Under traffic it adds keys one by one up to the limit, takes them away one by one from the oldest on, and then
// rotates with an overlap. No customer changes a line.
func TestDocuSignMoves(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		l := locksmith{operator.New(w.JS, w.Topology), w}
		c := newCustomer("connect", docuSignConnect, 11)
		// The secret that the customer holds is there before the endpoint.
		_, err := l.ImportKey(t.Context(), c.key, signature.DocuSign, imported(1), true, w.Vault)
		require.NoError(t, err)
		c.Receiver = w.Receiver("connect.example.com", c)
		w.Apply(c.Document("acme", "connect", func(document map[string]any) {
			document["signature"] = map[string]any{"schemes": []string{signature.DocuSign}}
		}))
		w.StartSigner(w.Broker.Option())
		w.StartSigner(w.Broker.Option())
		w.StartDispatcher(w.Broker.Option())
		w.Pass(2 * time.Second)
		require.Equal(t, 1, c.told(l), "no other key than the customer's is made")
		assert.Equal(t, []string{imported(1)}, c.secrets(both))
		traffic := w.Traffic(50*time.Millisecond, "acme", "com.acme.envelope.sent", "com.acme.envelope.completed")
		w.Pass(1025 * time.Millisecond) // between two events

		most := grown(l, c)
		shrunk(l, c, most)
		turned := turned(l, c, signature.DocuSign, imported)
		sent := traffic.Stop()
		w.Pass(10 * time.Second) // the retries of the last ones

		assert.Greater(t, sent, 1000)
		c.content(w, traffic, sent)
		judgeCounts(t, c, most, turned)
	})
}

// grown adds keys, imported and made in turn, until no more may sign.
func grown(l locksmith, c *customer) (most int) {
	t := l.w.T
	t.Helper()
	for n := 2; n <= signature.MaxSigning; n++ {
		var err error
		if n%2 == 0 {
			_, err = l.ImportKey(t.Context(), c.key, signature.DocuSign, imported(n), true, l.w.Vault)
		} else {
			_, err = l.CreateKey(t.Context(), c.key, signature.DocuSign, true, l.w.Vault)
		}
		require.NoError(t, err)
		require.Equal(t, n, c.told(l))
		l.w.Pass(time.Second)
	}
	_, err := l.CreateKey(t.Context(), c.key, signature.DocuSign, true, l.w.Vault)
	require.ErrorIs(t, err, signature.ErrTooManyKeys)
	require.Equal(t, signature.MaxSigning, c.told(l), "what was refused has changed nothing")
	return signature.MaxSigning
}

// shrunk takes the oldest key away until one is left, which stays.
func shrunk(l locksmith, c *customer, n int) {
	t := l.w.T
	t.Helper()
	for n > 1 {
		_, err := l.RevokeKey(t.Context(), c.key, c.keys[0].ID, l.w.Vault)
		require.NoError(t, err)
		n--
		require.Equal(t, n, c.told(l))
		l.w.Pass(time.Second)
	}
	_, err := l.RevokeKey(t.Context(), c.key, c.keys[0].ID, l.w.Vault)
	require.ErrorIs(t, err, signature.ErrLastKey)
}

// turned rotates every second with an overlap of several, every other time to a secret that the provider brings, and waits
// for the last overlap to end. It tells when the first rotation was.
func turned(l locksmith, c *customer, scheme string, secret func(int) string) (from time.Time) {
	t := l.w.T
	t.Helper()
	const overlap = 4500 * time.Millisecond
	from = time.Now()
	for n := range 20 {
		if n%2 == 0 {
			_, err := l.ImportKey(t.Context(), c.key, scheme, secret(100+n), false, l.w.Vault)
			require.NoError(t, err)
		}
		_, err := l.RotateKey(t.Context(), c.key, operator.KeyRotation{Scheme: scheme, Overlap: overlap}, l.w.Vault)
		require.NoError(t, err)
		require.Equal(t, min(n+2, 6), c.told(l))
		l.w.Pass(time.Second)
	}
	l.w.Pass(overlap)
	require.Equal(t, 1, c.told(l))
	l.w.Pass(time.Second)
	return from
}

// judgeCounts looks at how many signatures there were: one more with each key up to the most, never more, and one in the end.
func judgeCounts(t *testing.T, c *customer, most int, turned time.Time) {
	t.Helper()
	seen, last := map[int]int{}, 0
	for _, hit := range c.Hits() {
		last = 0
		for name := range hit.Header {
			if strings.HasPrefix(name, "X-Docusign-Signature-") {
				last++
			}
		}
		seen[last]++
		if hit.At.After(turned) {
			assert.LessOrEqual(t, last, 6)
		}
	}
	assert.Len(t, seen, most)
	for n := 1; n <= most; n++ {
		assert.Greater(t, seen[n], 10, "messages with %d signatures", n)
	}
	assert.Equal(t, 1, last)
}
