package receiver_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
)

func TestHeaderTricks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(http.Header)
		status int
	}{
		"as it is":                {func(http.Header) {}, 200},
		"strangers are fine":      {func(h http.Header) { h["X-Whatever"] = []string{"1", "2"} }, 200},
		"an id with '_'":          {func(h http.Header) { h["Webhook_id"] = []string{"b"} }, 400},
		"an event's id with '_'":  {func(h http.Header) { h["Ce_id"] = []string{"b"} }, 400},
		"a type with '_'":         {func(h http.Header) { h["Content_type"] = []string{"b"} }, 400},
		"a doubled event id":      {func(h http.Header) { h["Ce-Id"] = []string{"b", "c"} }, 401},
		"a doubled Content-Type":  {func(h http.Header) { h["Content-Type"] = []string{"b", "c"} }, 401},
		"a doubled digest":        {func(h http.Header) { h["Content-Digest"] = []string{"b", "c"} }, 401},
		"another doubled scheme":  {func(h http.Header) { h["Signature-Input"] = []string{"b", "c"} }, 401},
		"a provider's, doubled":   {func(h http.Header) { h["X-Shopify-Hmac-Sha256"] = []string{"b", "c"} }, 401},
		"another method":          {func(h http.Header) { h.Set("X-HTTP-Method-Override", "DELETE") }, 400},
		"another method with '_'": {func(h http.Header) { h["X_http_method_override"] = []string{"DELETE"} }, 400},
		"compressed":              {func(h http.Header) { h.Set("Content-Encoding", "gzip") }, 415},
		"not compressed":          {func(h http.Header) { h.Set("Content-Encoding", "identity") }, 200},
		"a certificate":           {func(h http.Header) { h.Set("Client-Cert", ":AAAA:") }, 495},
		"a certificate with '_'":  {func(h http.Header) { h["Client_cert"] = []string{":AAAA:"} }, 495},
		"Envoy's certificate":     {func(h http.Header) { h.Set("X-Forwarded-Client-Cert", "URI=spiffe://x") }, 495},
		"nginx's verdict":         {func(h http.Header) { h.Set("Ssl-Client-Verify", "SUCCESS") }, 495},
		"Amazon's subject":        {func(h http.Header) { h.Set("X-Amzn-Mtls-Clientcert-Subject", "CN=x") }, 495},
		"too large":               {func(h http.Header) { h.Set("X-Whatever", strings.Repeat("x", receiver.DefaultMaxHeader)) }, 431},
		"too many":                {func(h http.Header) { h["X-Whatever"] = make([]string, 10_000) }, 431},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, nil)
			req := d.request("a", time.Now(), "{}")
			c.change(req.Header)
			reply := d.send(req)
			assert.Equal(t, c.status, reply.Code, reply.Body)
			if c.status == 200 {
				assert.Equal(t, 1, d.calls)
			} else {
				assert.Zero(t, d.calls)
				assert.Equal(t, http.StatusOK, d.send(d.request("a", time.Now(), "{}")).Code, "what was refused used nothing up")
			}
		})
	}
}

func TestMethods(t *testing.T) {
	d := newDirect(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace, http.MethodConnect, "post", "X"} {
		req := d.request("a", time.Now(), "{}")
		req.Method = method
		reply := d.send(req)
		assert.Equal(t, http.StatusMethodNotAllowed, reply.Code, method)
		assert.Equal(t, "POST, OPTIONS", reply.Header().Get("Allow"))
	}
	req := d.request("a", time.Now(), "{}")
	req.Method = http.MethodOptions
	assert.Equal(t, http.StatusNoContent, d.send(req).Code)
	assert.Zero(t, d.calls)
}

func TestEvent(t *testing.T) {
	const good = `{"specversion":"1.0","id":"1","source":"/shop","type":"order.created","datacontenttype":"application/json","data":{"total":1.10}}`
	for name, c := range map[string]struct{ kind, body, words string }{
		"structured":     {"application/cloudevents+json; charset=utf-8", good, ""},
		"plain JSON":     {"application/json", good, "Content-Type is not"},
		"no type":        {"", good, "Content-Type is not"},
		"a batch":        {"application/cloudevents-batch+json", "[" + good + "]", "Content-Type is not"},
		"not JSON":       {"application/cloudevents+json", "x", "not a CloudEvent"},
		"an empty event": {"application/cloudevents+json", "{}", "not a CloudEvent"},
		"no source":      {"application/cloudevents+json", strings.Replace(good, `"source":"/shop",`, "", 1), "source"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, nil)
			d.answer = func(_ http.ResponseWriter, r *http.Request) {
				delivery, ok := receiver.FromContext(r.Context())
				assert.True(t, ok)
				event, err := delivery.Event()
				if c.words != "" {
					assert.ErrorIs(t, err, receiver.ErrNotEvent)
					assert.ErrorContains(t, err, c.words)
					return
				}
				assert.NoError(t, err)
				assert.Equal(t, "order.created", event.Type())
				assert.Equal(t, "/shop", event.Source())
				assert.Equal(t, `{"total":1.10}`, string(event.Data()), "to the last digit")
			}
			req := d.request("a", time.Now(), c.body)
			req.Header.Set("Content-Type", c.kind)
			require.Equal(t, http.StatusOK, d.send(req).Code)
			require.Equal(t, 1, d.calls)
		})
	}
}
