package receiver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// TestOneFormIsProcessedOnce: of a form, Twilio's scheme signs the address and the sorted fields, joined without anything
// in between. One signature therefore fits many bodies, and addresses, that are not the same byte for byte. They are one
// delivery.
func TestOneFormIsProcessedOnce(t *testing.T) {
	s := newSignedBy(t, signature.Template{}, signature.Twilio)
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	sign := func(body string) []signature.Field {
		fields, _, err := signature.Signer{}.Sign(signature.Request{
			ID: "x", Time: time.Now(), Method: http.MethodPost, URL: "https://hooks.example/in", Header: form, Body: []byte(body),
		}, s.schemes, s.ring)
		require.NoError(t, err)
		return fields
	}
	post := func(fields []signature.Field, target, body string) int {
		req := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
		req.Host, req.TLS, req.Header = "hooks.example", s.state, form.Clone()
		for _, f := range fields {
			req.Header.Set(f.Name, f.Value)
		}
		return s.send(req)
	}
	signed := sign("a=1&b=2")
	require.Equal(t, http.StatusOK, post(signed, "/in", "a=1&b=2"))
	for _, again := range []struct{ name, target, body string }{
		{"the same", "/in", "a=1&b=2"},
		{"in another order", "/in", "b=2&a=1"},
		{"written in another way", "/in", "a=%31&b=2"},
		{"split in another place", "/in", "a=1b2"},
		{"begun in the address", "/ina1", "b=2"},
	} {
		post(signed, again.target, again.body)
		assert.Equal(t, 1, s.calls, "%s: one signature, one run of the handler", again.name)
	}
	require.Equal(t, http.StatusOK, post(sign("a=1&b=3"), "/in", "a=1&b=3"))
	assert.Equal(t, 2, s.calls, "another form is another delivery")
}
