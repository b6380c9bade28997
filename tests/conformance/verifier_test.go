package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/tests/kit"
)

// arrival is a request as a receiver's server had it.
type arrival struct {
	method, host, target string
	header               http.Header
	body                 []byte
	// keys are the receiver's by their scheme. In a forgery they may be those of another endpoint.
	keys map[string]signature.Key
}

// request is the arrival for a library that wants one.
func (a arrival) request(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), a.method, "https://"+a.host+a.target, bytes.NewReader(a.body))
	require.NoError(t, err)
	r.Header = a.header.Clone()
	return r
}

// letterbox is a receiver on a socket that keeps what arrives.
type letterbox struct {
	address string

	mu   sync.Mutex
	came []arrival
}

func (l *letterbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if r.Method != http.MethodPost || err != nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came = append(l.came, arrival{method: r.Method, host: r.Host, target: r.RequestURI, header: r.Header.Clone(), body: body})
	w.WriteHeader(http.StatusNoContent)
}

func (l *letterbox) all() []arrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.came)
}

func openLetterbox(t *testing.T, w *kit.World, protocol string) *letterbox {
	t.Helper()
	box := &letterbox{}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol == "http/1.1")
	protocols.SetHTTP2(protocol == "h2")
	server := &http.Server{Handler: box, TLSConfig: w.ServerTLS("hooks.example.com"), Protocols: protocols, ReadHeaderTimeout: time.Minute}
	listener, err := (&net.ListenConfig{}).Listen(context.WithoutCancel(t.Context()), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	box.address = listener.Addr().String()
	served := make(chan struct{})
	go func() { defer close(served); _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return box
}

// everyScheme is each way to sign side by side, but for that of one's own.
func everyScheme() []string {
	return slices.DeleteFunc(signature.Schemes(), func(name string) bool { return name == signature.TemplateScheme })
}

// delivered sends an event through broker, signer and dispatcher, and over mutual TLS on a socket. Every scheme signs it.
func delivered(t *testing.T, protocol string) arrival {
	t.Helper()
	w := kit.New(t)
	w.Signer.FetchWait, w.Dispatcher.FetchWait = 0, 0 // the defaults: this is real time
	box := openLetterbox(t, w, protocol)
	w.Dispatcher.Connections.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, box.address)
	}
	w.Apply(w.Document("hooks.example.com", "acme", "orders", func(document map[string]any) {
		document["signature"] = map[string]any{"schemes": everyScheme(), "algorithms": signature.Algorithms()}
	}))
	w.Start()
	w.Publish("acme", "com.acme.order.created", `{"customer":"Zoë 😀","note":"<a> & \"b\" \u2028 \/","total":1.10}`)
	require.Eventually(t, func() bool { return len(w.Outcomes()) == 1 }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, []delivery.Outcome{delivery.Delivered}, w.Outcomes())
	came := box.all()
	require.Len(t, came, 1)
	proof := w.Receipts()[0].Proof
	require.NotNil(t, proof)
	require.Equal(t, protocol == "h2", proof.ALPN == "h2", "spoken was %q", proof.ALPN)
	came[0].keys = byScheme(w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"}))
	require.Len(t, came[0].keys, len(everyScheme()))
	return came[0]
}

func byScheme(keys []signature.Key) map[string]signature.Key {
	all := make(map[string]signature.Key, len(keys))
	for _, key := range keys {
		all[key.Scheme] = key
	}
	return all
}

// What a scheme signs, so that a change of it must be refused.
const (
	theBody   = "body"
	theID     = "id"
	theTime   = "time"
	theTarget = "target" // path, query and host
	theMethod = "method"
	theKey    = "key"
)

// forgery is a copy of a delivery with something changed.
type forgery struct {
	of     string
	change func(t *testing.T, a *arrival)
}

func forgeries() map[string]forgery {
	body := func(change func(b []byte) []byte) func(*testing.T, *arrival) {
		return func(t *testing.T, a *arrival) {
			t.Helper()
			before := bytes.Clone(a.body)
			a.body = change(bytes.Clone(a.body))
			require.NotEqual(t, before, a.body)
		}
	}
	return map[string]forgery{
		"a digit of the body":   {theBody, body(func(b []byte) []byte { return bytes.Replace(b, []byte("1.10"), []byte("1.11"), 1) })},
		"the last byte missing": {theBody, body(func(b []byte) []byte { return b[:len(b)-1] })},
		"a line feed more":      {theBody, body(func(b []byte) []byte { return append(b, '\n') })},
		"the body re-encoded": {theBody, body(func(b []byte) []byte {
			var value any
			if json.Unmarshal(b, &value) != nil {
				return b
			}
			again, _ := json.Marshal(value) // the same to a parser
			return again
		})},
		"another id": {theID, func(_ *testing.T, a *arrival) { a.header.Set("webhook-id", "msg_another") }},
		"a second later": {theTime, func(t *testing.T, a *arrival) {
			t.Helper()
			at, err := strconv.Atoi(a.header.Get("webhook-timestamp"))
			require.NoError(t, err)
			later := strconv.Itoa(at + 1)
			a.header.Set("webhook-timestamp", later)
			a.header.Set("x-slack-request-timestamp", later)
			for _, name := range []string{"stripe-signature", "signature-input"} {
				before := a.header.Get(name)
				a.header.Set(name, strings.NewReplacer("t="+strconv.Itoa(at), "t="+later, "created="+strconv.Itoa(at), "created="+later).Replace(before))
				require.NotEqual(t, before, a.header.Get(name))
			}
		}},
		"another path":         {theTarget, func(_ *testing.T, a *arrival) { a.target = "/admin" + a.target }},
		"another query":        {theTarget, func(_ *testing.T, a *arrival) { a.target = strings.Replace(a.target, "?", "?as=root&", 1) }},
		"another host":         {theTarget, func(_ *testing.T, a *arrival) { a.host = "elsewhere.example.com" }},
		"another method":       {theMethod, func(_ *testing.T, a *arrival) { a.method = http.MethodPut }},
		"the keys of somebody": {theKey, strangersKeys},
		"the signatures missing": {theKey, func(_ *testing.T, a *arrival) {
			maps.DeleteFunc(a.header, func(name string, _ []string) bool { return signs(name) })
		}},
		"the signatures changed": {theKey, changedSignatures},
	}
}

// signs tells the header fields that hold signatures.
func signs(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "signature") && name != "signature-input" || strings.Contains(name, "hmac")
}

func strangersKeys(t *testing.T, a *arrival) {
	t.Helper()
	mine := a.keys
	a.keys = make(map[string]signature.Key, len(mine))
	for scheme, key := range mine {
		other := attackKey(t, scheme)
		other.ID = key.ID // as if it had been exchanged behind the receiver's back
		a.keys[scheme] = other
	}
}

// madeSignature is what is long enough to be a signature, in hexadecimal or base64.
var madeSignature = regexp.MustCompile(`[A-Za-z0-9+/]{27,}`)

// changedSignatures exchanges one character in the middle of each signature of each list.
func changedSignatures(t *testing.T, a *arrival) {
	t.Helper()
	for name, values := range a.header {
		if !signs(name) {
			continue
		}
		changed := madeSignature.ReplaceAllStringFunc(values[0], func(text string) string {
			at, other := len(text)/2, "1"
			if text[at] == '1' {
				other = "2"
			}
			return text[:at] + other + text[at+1:]
		})
		require.NotEqual(t, changed, values[0])
		a.header[name] = []string{changed}
	}
}

// library is code of others, and what it must refuse a change of.
type library struct {
	covers []string
	verify func(*testing.T, arrival) error
}

// goLibraries are those for Go. Where nobody has written one, the provider's formula stands here with the standard library.
func goLibraries() map[string]library {
	bodyOnly, message := []string{theBody, theKey}, []string{theBody, theKey, theID, theTime, theTarget, theMethod}
	of := func(scheme string) func(*testing.T, arrival) error {
		return func(t *testing.T, a arrival) error {
			t.Helper()
			return judgeOf(scheme)(a.keys[scheme], a.request(t), a.body)
		}
	}
	return map[string]library{
		"standard-webhooks": {[]string{theBody, theKey, theID, theTime}, func(t *testing.T, a arrival) error {
			t.Helper()
			webhook, err := standardwebhooks.NewWebhook(a.keys[signature.V1].Reveal())
			require.NoError(t, err)
			return webhook.Verify(a.body, a.header)
		}},
		"v1a by its specification": {[]string{theBody, theKey, theID, theTime}, func(_ *testing.T, a arrival) error {
			return checkV1a(a.keys[signature.V1a].Public(), a.header, a.body)
		}},
		"go-pagerduty":          {bodyOnly, of(signature.PagerDuty)},
		"httpsig-go, ed25519":   {message, of(signature.HTTPEd25519)},
		"httpsig-go, ecdsa":     {message, of(signature.HTTPECDSA)},
		"httpsig-go, hmac":      {message, of(signature.HTTPHMAC)},
		"docusign by its pages": {bodyOnly, of(signature.DocuSign)},
		"shopify by its pages":  {bodyOnly, of(signature.Shopify)},
		"github by its pages":   {bodyOnly, of(signature.GitHub)},
		"stripe by its pages":   {[]string{theBody, theKey, theTime}, of(signature.Stripe)},
		"slack by its pages":    {[]string{theBody, theKey, theTime}, of(signature.Slack)},
	}
}

// TestVerifiersInGo hands deliveries as they arrived to the code of others, and copies with anything changed.
func TestVerifiersInGo(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			came := delivered(t, protocol)
			for name, library := range goLibraries() {
				require.NoError(t, library.verify(t, came), "%s: as it came", name)
				for what, f := range forgeries() {
					err := library.verify(t, forged(t, came, f))
					assert.Equal(t, slices.Contains(library.covers, f.of), err != nil, "%s: %s: %v", name, what, err)
				}
			}
		})
	}
}

// forged is a changed copy.
func forged(t *testing.T, came arrival, f forgery) arrival {
	t.Helper()
	changed := came
	changed.header = came.header.Clone()
	f.change(t, &changed)
	return changed
}
