package receiver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

const sender, senderURI = "webhooks.sender.example", "spiffe://sender.example/dispatcher"

// rig is a receiver with spans recorded, and the sender that it believes.
type rig struct {
	t      *testing.T
	ca     *authority
	key    signature.Key
	server *httptest.Server
	client *http.Client
	spans  *tracetest.InMemoryExporter
	seen   []receiver.Delivery
	id     string // of the newest request
	answer http.Handler
}

func newRig(t *testing.T, auth tls.ClientAuthType, change func(*receiver.Options)) *rig {
	t.Helper()
	ca, err := newAuthority()
	require.NoError(t, err)
	key, verifier, err := newKey(signature.V1a)
	require.NoError(t, err)
	r := &rig{t: t, ca: ca, key: key, spans: tracetest.NewInMemoryExporter(), answer: answering(http.StatusAccepted)}
	opts := receiver.Options{
		Clients:        []string{sender, senderURI},
		Keys:           []signature.Verifier{verifier},
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.spans)),
	}
	if change != nil {
		change(&opts)
	}
	guard, err := receiver.New(opts)
	require.NoError(t, err)
	r.server = serve(ca, auth, guard(http.HandlerFunc(r.handle)))
	t.Cleanup(r.server.Close)
	r.client = r.as(sender)
	return r
}

// answering writes these statuses in turn.
func answering(statuses ...int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, status := range statuses {
			w.WriteHeader(status)
		}
	})
}

func (r *rig) handle(w http.ResponseWriter, req *http.Request) {
	delivery, ok := receiver.FromContext(req.Context())
	assert.True(r.t, ok)
	body, err := io.ReadAll(req.Body)
	assert.NoError(r.t, err)
	assert.True(r.t, bytes.Equal(delivery.Body, body), "the body reads as it was signed")
	assert.EqualValues(r.t, len(body), req.ContentLength)
	r.seen = append(r.seen, delivery)
	r.answer.ServeHTTP(w, req)
}

// as returns a client whose certificate has these names, and a common name that
// would be allowed if common names counted.
func (r *rig) as(names ...string) *http.Client {
	cert, err := r.ca.issue(sender, names...)
	require.NoError(r.t, err)
	return clientOf(r.server, cert)
}

// request is a new delivery, with an id of its own.
func (r *rig) request(body string) *http.Request {
	r.id = "msg_" + rand.Text()
	return r.attempt(r.id, time.Now(), body)
}

// attempt is one attempt of a delivery, signed at that time.
func (r *rig) attempt(id string, at time.Time, body string) *http.Request {
	req, err := signedPost(r.t.Context(), r.server.URL, id, at, []byte(body), r.key)
	require.NoError(r.t, err)
	return req
}

// do sends the request and returns the status and the words of a refusal.
func (r *rig) do(client *http.Client, req *http.Request) (int, string) {
	resp, err := client.Do(req)
	require.NoError(r.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	if resp.StatusCode < 300 {
		return resp.StatusCode, ""
	}
	assert.Equal(r.t, "application/json", resp.Header.Get("Content-Type"))
	assert.Equal(r.t, resp.StatusCode == http.StatusUnauthorized, resp.Header.Get("WWW-Authenticate") != "")
	var reply map[string]string
	require.NoError(r.t, json.Unmarshal(text, &reply))
	require.Len(r.t, reply, 1)
	return resp.StatusCode, reply["error"]
}

func TestAcceptsVerifiedDelivery(t *testing.T) {
	r := newRig(t, tls.RequireAndVerifyClientCert, nil)
	for _, names := range [][]string{{sender}, {senderURI}, {"other.example", "WEBHOOKS.sender.EXAMPLE"}} {
		for _, body := range []string{`{"a":1}`, "", strings.Repeat("x", 100_000)} {
			status, words := r.do(r.as(names...), r.request(body))
			require.Equal(t, http.StatusAccepted, status, words)
			last := r.seen[len(r.seen)-1]
			assert.Equal(t, r.id, last.ID)
			assert.Equal(t, signature.V1a, last.Scheme)
			assert.Equal(t, r.key.ID, last.KeyID)
			assert.Equal(t, body, string(last.Body))
			assert.Contains(t, []string{sender, senderURI}, last.ClientSAN)
			assert.WithinDuration(t, time.Now(), last.Time, time.Minute)
		}
	}
}

func TestRefusesClients(t *testing.T) {
	r := newRig(t, tls.VerifyClientCertIfGiven, nil)
	for name, client := range map[string]*http.Client{
		"no certificate":       clientOf(r.server),
		"common name only":     r.as(),
		"another name":         r.as("evil.example"),
		"name as a suffix":     r.as("evil." + sender),
		"name as a prefix":     r.as(sender + ".evil.example"),
		"wildcard over it":     r.as("*.sender.example"),
		"URI with longer path": r.as(senderURI + "/more"),
		"URI in another case":  r.as("spiffe://sender.example/Dispatcher"),
	} {
		t.Run(name, func(t *testing.T) {
			status, words := r.do(client, r.request("{}"))
			assert.Equal(t, receiver.StatusClient, status)
			assert.Contains(t, words, receiver.ErrClient.Error())
		})
	}
	assert.Empty(t, r.seen)
}

// TestRefusesUnverifiedChains has a server that asks for a certificate and
// believes anything: the middleware does not.
func TestRefusesUnverifiedChains(t *testing.T) {
	r := newRig(t, tls.RequireAnyClientCert, nil)
	status, words := r.do(r.client, r.request("{}"))
	assert.Equal(t, receiver.StatusClient, status)
	assert.Contains(t, words, "no verified client certificate")
	assert.Empty(t, r.seen)
}

func TestRefusesPlainHTTP(t *testing.T) {
	_, verifier, err := newKey(signature.V1)
	require.NoError(t, err)
	guard, err := receiver.New(receiver.Options{Clients: []string{sender}, Keys: []signature.Verifier{verifier}})
	require.NoError(t, err)
	recorder := httptest.NewRecorder()
	guard(http.NotFoundHandler()).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", http.NoBody))
	assert.Equal(t, receiver.StatusClient, recorder.Code)
	assert.Contains(t, recorder.Body.String(), "did not come over TLS")
}

// TestRefusesExpiredOnOpenConnection: the certificate was good when the
// connection was made.
func TestRefusesExpiredOnOpenConnection(t *testing.T) {
	now := time.Now()
	r := newRig(t, tls.RequireAndVerifyClientCert, func(o *receiver.Options) { o.Now = func() time.Time { return now } })
	status, _ := r.do(r.client, r.request("{}"))
	require.Equal(t, http.StatusAccepted, status)
	for _, later := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		now = time.Now().Add(later)
		status, words := r.do(r.client, r.request("{}"))
		assert.Equal(t, receiver.StatusClient, status)
		assert.Contains(t, words, "not valid at this time")
	}
}

func TestRefusesSignatures(t *testing.T) {
	r := newRig(t, tls.RequireAndVerifyClientCert, nil)
	stranger, _, err := newKey(signature.V1a)
	require.NoError(t, err)
	signedBy := func(key signature.Key, at time.Time) *http.Request {
		req, err := signedPost(t.Context(), r.server.URL, "msg_1", at, []byte("{}"), key)
		require.NoError(t, err)
		return req
	}
	with := func(change func(h http.Header)) *http.Request {
		req := r.request("{}")
		change(req.Header)
		return req
	}
	swapped := r.request("{}")
	swapped.Body, swapped.ContentLength = io.NopCloser(strings.NewReader("[]")), 2
	for _, c := range []struct {
		name  string
		req   *http.Request
		words string
	}{
		{"unsigned", with(func(h http.Header) { h.Del("webhook-signature") }), "missing"},
		{"by a stranger", signedBy(stranger, time.Now()), "no matching"},
		{"six minutes old", signedBy(r.key, time.Now().Add(-6*time.Minute)), "too old"},
		{"six minutes ahead", signedBy(r.key, time.Now().Add(6*time.Minute)), "future"},
		{"another body", swapped, "no matching"},
		{"another id", with(func(h http.Header) { h.Set("webhook-id", "msg_2") }), "no matching"},
		{"doubled id", with(func(h http.Header) { h.Add("webhook-id", "msg_1") }), "more than once"},
		{"doubled signature", with(func(h http.Header) { h.Add("webhook-signature", "v1,AAAA") }), "more than once"},
		{"doubled unsigned webhook header", with(func(h http.Header) { h["Webhook-Attempt"] = []string{"1", "2"} }), "more than once"},
		{"2,000 signatures", with(func(h http.Header) { h.Set("webhook-signature", strings.Repeat("v1a,AAAA ", 2_000)) }), "bytes long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			secret := c.req.Header.Get("webhook-signature")
			status, words := r.do(r.client, c.req)
			assert.Equal(t, http.StatusUnauthorized, status)
			assert.Contains(t, words, c.words)
			if secret != "" {
				assert.NotContains(t, words, secret[:8])
			}
		})
	}
	assert.Empty(t, r.seen)
}

func TestSpan(t *testing.T) {
	r := newRig(t, tls.VerifyClientCertIfGiven, nil)
	const traceID, parentID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	traced := func(req *http.Request) *http.Request {
		req.Header.Set("traceparent", "00-"+traceID+"-"+parentID+"-01")
		return req
	}
	unsigned := traced(r.request("{}"))
	unsigned.Header.Del("webhook-signature")
	_, _ = r.do(r.client, traced(r.request("{}")))
	first := r.id
	_, _ = r.do(r.client, unsigned)
	_, _ = r.do(clientOf(r.server), traced(r.request("{}")))
	spans := r.spans.GetSpans()
	require.Len(t, spans, 3)
	for i, span := range spans {
		assert.Equal(t, "receive", span.Name)
		assert.Equal(t, trace.SpanKindServer, span.SpanKind)
		assert.Equal(t, i < 2, span.SpanContext.TraceID().String() == traceID, "only a known client may place us in its trace")
		assert.Equal(t, i < 2, span.Parent.SpanID().String() == parentID)
	}
	assert.Equal(t, codes.Unset, spans[0].Status.Code)
	assert.Contains(t, spans[0].Attributes, attribute.String("handfast.delivery.id", first))
	assert.Contains(t, spans[0].Attributes, attribute.String("handfast.client.san", sender))
	assert.Equal(t, codes.Error, spans[1].Status.Code)
	assert.Contains(t, spans[1].Attributes, attribute.Int("http.response.status_code", 401))
	assert.Contains(t, spans[2].Attributes, attribute.Int("http.response.status_code", 495))
}

func TestFromContextWithoutMiddleware(t *testing.T) {
	delivery, ok := receiver.FromContext(context.Background())
	assert.False(t, ok)
	assert.Zero(t, delivery)
}
