package conformance

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

// signedField is the header field of a provider in which a signature stands, what stands around it there, and how it is
// written.
type signedField struct {
	name, before, separator string
	encode                  func([]byte) string
	list                    bool // several signatures may stand in it
}

func signedFields() map[string]signedField {
	text := base64.StdEncoding.EncodeToString
	return map[string]signedField{
		signature.DocuSign:  {name: "x-docusign-signature-1", encode: text},
		signature.PagerDuty: {name: "x-pagerduty-signature", before: "v1=", separator: ",", encode: hex.EncodeToString, list: true},
		signature.GitHub:    {name: "x-hub-signature-256", before: "sha256=", encode: hex.EncodeToString},
		signature.Shopify:   {name: "x-shopify-hmac-sha256", encode: text},
		signature.Stripe:    {name: "stripe-signature", before: "v1=", separator: ",", encode: hex.EncodeToString, list: true},
		signature.Slack:     {name: "x-slack-signature", before: "v0=", encode: hex.EncodeToString},
		signature.Twilio:    {name: "x-twilio-signature", encode: text},
	}
}

// TestProviderReplays replays what providers' schemes have signed. They sign less, and the least of them nothing but the
// body: none makes the handler run a second time while the delivery is remembered.
func TestProviderReplays(t *testing.T) {
	for scheme := range signedFields() {
		t.Run(scheme, func(t *testing.T) {
			g := aim(t, nil, scheme)
			captured := g.sign("msg_1", g.now(), attackBody)
			require.Equal(t, http.StatusOK, g.post(friend, captured))
			to := func(method, target string) letter { l := captured; l.method, l.target = method, target; return l }
			again, late := http.StatusNoContent, http.StatusNoContent // the body is the id, so it is a duplicate
			if signature.SignsTime(scheme) {
				again, late = receiver.StatusReplay, http.StatusUnauthorized
			}
			elsewhere := again
			if scheme == signature.Twilio { // it signs where to
				elsewhere = http.StatusUnauthorized
			}
			for _, c := range []struct {
				name   string
				after  time.Duration
				client string
				letter letter
				status int
			}{
				{"at once", 0, friend, captured, again},
				{"+1 s", time.Second, friend, captured, again},
				{"+4 min", 4 * time.Minute, friend, captured, again},
				{"+6 min", 6 * time.Minute, friend, captured, late},
				{"+23 h", 23 * time.Hour, friend, captured, late},
				{"from another allowed client", time.Second, another, captured, again},
				{"from a client that is not allowed", time.Second, enemy, captured, receiver.StatusClient},
				{"from nobody", time.Second, "", captured, receiver.StatusClient},
				{"to another path", time.Second, friend, to(http.MethodPost, "/admin/delete?all=1"), elsewhere},
				{"by PUT", time.Second, friend, to(http.MethodPut, captured.target), http.StatusMethodNotAllowed},
				{"in chunks", time.Second, friend, chunked(captured), again},
				{"with an id that nobody signed", time.Second, friend, captured.with("webhook-id", "webhook-id: msg_2"), again},
				{"with a provider's id that nobody signed", time.Second, friend, captured.with("x-webhook-id", "x-webhook-id: 2"), again},
			} {
				g.offset.Store(int64(c.after))
				assert.Equal(t, c.status, g.post(c.client, c.letter), c.name)
				assert.EqualValues(t, 1, g.calls.Load(), "%s: the handler ran again", c.name)
			}
			g.offset.Store(0)
			g.unharmed()
		})
	}
}

// TestProviderForgeries changes a request of each provider's scheme. None is accepted, none uses the honest one up, and
// those that are big cost little.
func TestProviderForgeries(t *testing.T) {
	for scheme, field := range signedFields() {
		t.Run(scheme, func(t *testing.T) {
			g := aim(t, nil, scheme)
			at := g.now()
			honest := g.sign("msg_1", at, attackBody)
			for name, l := range forgedFor(t, g, scheme, honest, at) {
				g.read.Store(0)
				allocated := allocation(func() { assert.Contains(t, []int{0, 400, 401, 413, 415, 431}, g.post(friend, l), name) })
				assert.LessOrEqual(t, allocated, 8<<20+8*uint64(len(l.body)+len(strings.Join(l.header, ""))), name)
				assert.LessOrEqual(t, g.read.Load(), int64(1<<20+64<<10), name)
				assert.Zero(t, g.calls.Swap(0), name)
			}
			require.Equal(t, http.StatusOK, g.post(friend, honest), "after all that, the honest one passes")
			if field.list {
				g.calls.Store(0)
				beside := g.sign("msg_2", at, `{"order":3}`)
				value := beside.value(field.name)
				assert.Equal(t, http.StatusOK, g.post(friend, beside.with(field.name, field.name+": "+value+",v9=00,"+field.before+"00")), "what is unknown beside it is ignored")
			}
		})
	}
}

// forgedFor is the honest request with anything changed.
func forgedFor(t *testing.T, g *target, scheme string, honest letter, at time.Time) map[string]letter {
	t.Helper()
	field := signedFields()[scheme]
	value := honest.value(field.name)
	require.Contains(t, value, field.before)
	body := func(text string) letter { l := honest; l.body = text; return l }
	set := func(value string) letter { return honest.with(field.name, field.name+": "+value) }
	stamp, made := "", value // Stripe's time stands in front
	if front, rest, ok := strings.Cut(value, ",v1="); ok && scheme == signature.Stripe {
		stamp, made = front+",", "v1="+rest
	}
	raw := strings.TrimPrefix(made, field.before)
	other := aim(t, nil, scheme)
	other.address = g.address
	with := func(key string) string {
		h := hmac.New(sha256.New, []byte(key))
		h.Write([]byte(attackBody))
		return stamp + field.before + field.encode(h.Sum(nil))
	}
	cases := map[string]letter{
		"another body":                     body(`{"order":2}`),
		"the body and a line feed":         body(attackBody + "\n"),
		"the same value re-encoded":        body(`{ "order": 1 }`),
		"no body":                          body(""),
		"no signature":                     honest.with(field.name),
		"an empty signature":               set(""),
		"an empty signature of its kind":   set(stamp + field.before),
		"a doubled signature":              honest.with(field.name, field.name+": "+value, strings.ToUpper(field.name)+": "+value),
		"a good one after a bad one":       honest.with(field.name, field.name+": "+stamp+field.before+"00", field.name+": "+value),
		"cut":                              set(stamp + field.before + raw[:len(raw)-2]),
		"longer":                           set(stamp + field.before + raw + raw),
		"upside down":                      set(stamp + raw + cmp.Or(field.before, "v1=")),
		"an algorithm that nobody has":     set(stamp + "none=" + raw),
		"without what stands before it":    set(stamp + "x" + raw),
		"of an empty key":                  set(with("")),
		"keys of another":                  other.sign("msg_1", at, attackBody),
		"Standard Webhooks' instead":       aim(t, nil, signature.V1).sign("msg_1", at, attackBody),
		"compressed":                       honest.with("content-encoding", "content-encoding: gzip"),
		"another method in a header":       honest.with("x", "x-http-method-override: DELETE"),
		"its field with '_' beside it":     honest.with("x", strings.ReplaceAll(field.name, "-", "_")+": "+value),
		"its field with '_' instead of it": honest.with(field.name, strings.ReplaceAll(field.name, "-", "_")+": "+value),
		"10 MiB of body":                   body(strings.Repeat("x", 10<<20)),
		"10 MiB in one chunk":              chunked(body(strings.Repeat("x", 10<<20))),
		"10,000 signatures":                set(stamp + strings.TrimSuffix(strings.Repeat(field.before+strings.Repeat("0", len(raw))+",", 10_000), ",")),
		"10,000 empty signatures":          set(stamp + strings.Repeat(field.before+",", 10_000)),
		"65 signatures, the last one good": set(stamp + strings.Repeat(field.before+strings.Repeat("0", len(raw))+",", 64) + made),
	}
	if scheme == signature.DocuSign {
		cases["10,000 fields"] = honest.with(field.name, numbered(10_000)...)
		cases["1,000 fields and then it"] = honest.with(field.name, append(numbered(1000), "x-docusign-signature-1001: "+value)...)
		cases["a gap before it"] = honest.with(field.name, "x-docusign-signature-2: "+value)
	}
	if signature.SignsTime(scheme) {
		later := strconv.FormatInt(at.Unix()+1, 10)
		cases["six minutes old"] = g.sign("msg_1", at.Add(-6*time.Minute), attackBody)
		cases["six minutes ahead"] = g.sign("msg_1", at.Add(6*time.Minute), attackBody)
		cases["next year"] = g.sign("msg_1", at.AddDate(1, 0, 0), attackBody)
		if scheme == signature.Stripe {
			cases["a second later"], cases["no time"] = set("t="+later+","+made), set(made)
			cases["two times"] = set(stamp + "t=" + later + "," + made)
		} else {
			const name = "x-slack-request-timestamp"
			now := honest.value(name)
			cases["a second later"], cases["no time"] = honest.with(name, name+": "+later), honest.with(name)
			cases["two times"] = honest.with(name, name+": "+later, name+": "+now)
		}
	}
	if scheme == signature.Twilio {
		path, query, _ := strings.Cut(honest.target, "?")
		to := func(target string) letter { l := honest; l.target = target; return l }
		cases["another path"], cases["another query"] = to("/admin?"+query), to(path+"?tenant=b"+strings.TrimPrefix(query, "tenant=a"))
		digest := hex.EncodeToString(make([]byte, sha256.Size))
		cases["another digest"] = to(honest.target[:len(honest.target)-len(digest)] + digest)
		cases["a second digest"] = to(honest.target + "&bodySHA256=" + digest)
		cases["no digest"] = to(path + "?tenant=a")
	}
	return cases
}

// numbered are signatures of DocuSign's that nobody made.
func numbered(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = "x-docusign-signature-" + strconv.Itoa(i+1) + ": " + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	}
	return lines
}
