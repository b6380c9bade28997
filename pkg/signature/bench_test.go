package signature

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func benchRing(tb testing.TB) Ring {
	tb.Helper()
	var keys []Key
	for _, scheme := range Schemes() {
		key, err := GenerateKey(scheme, time.Time{}, rand.Reader)
		require.NoError(tb, err)
		key.State = Active
		keys = append(keys, key)
	}
	ring, err := NewRing(keys...)
	require.NoError(tb, err)
	return ring
}

func benchTemplate() Template {
	return Template{Header: "X-Acme-Signature", Content: "{id}.{timestamp}.{body}"}
}

// benchRequest is a request that every scheme can sign as it is.
func benchRequest(tb testing.TB) Request {
	tb.Helper()
	r := Request{
		ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Time: time.Unix(1614265330, 0), Method: http.MethodPost, URL: "https://hooks.example.com/in?tenant=a",
		Header: http.Header{"Content-Type": {"application/json"}}, Body: bytes.Repeat([]byte("x"), 1024),
	}
	query, err := Query(r, []string{Twilio})
	require.NoError(tb, err)
	r.URL = Extend(r.URL, query)
	return r
}

func BenchmarkSign(b *testing.B) {
	ring, request, signer := benchRing(b), benchRequest(b), Signer{Template: benchTemplate()}
	sets := map[string][]string{"both": Standard(), "four": append(Standard(), HTTPEd25519, Stripe)}
	names := append(Schemes(), "both", "four")
	for _, name := range names {
		schemes, ok := sets[name]
		if !ok {
			schemes = []string{name}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := signer.Sign(request, schemes, ring); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	ring, request, signer := benchRing(b), benchRequest(b), Signer{Template: benchTemplate()}
	for _, key := range ring.Keys() {
		verifier, err := key.Verifier()
		require.NoError(b, err)
		fields, _, err := signer.Sign(request, []string{key.Scheme}, ring)
		require.NoError(b, err)
		h := http.Header{"Content-Type": {"application/json"}}
		for _, f := range fields {
			h.Set(f.Name, f.Value)
		}
		verifiers := []Verifier{verifier}
		in := Received{
			Method: request.Method, Authority: "hooks.example.com", Target: strings.TrimPrefix(request.URL, "https://hooks.example.com"),
			Header: h, Body: request.Body, Template: benchTemplate(),
		}
		b.Run(key.Scheme, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify(key.Scheme, in, verifiers, request.Time, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestSignAllocations holds the budget of the hot path.
func TestSignAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector drops pooled values on purpose")
	}
	ring, request, schemes := benchRing(t), benchRequest(t), []string{V1}
	sign := func() {
		if _, _, err := (Signer{}).Sign(request, schemes, ring); err != nil {
			t.Error(err)
		}
	}
	assert.LessOrEqual(t, testing.AllocsPerRun(200, sign), 6.0)
}
