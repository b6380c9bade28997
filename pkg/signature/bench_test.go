package signature

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func benchRing(tb testing.TB) Ring {
	tb.Helper()
	var keys []Key
	for _, scheme := range Standard() {
		key, err := GenerateKey(scheme, time.Time{}, rand.Reader)
		require.NoError(tb, err)
		key.State = Active
		keys = append(keys, key)
	}
	ring, err := NewRing(keys...)
	require.NoError(tb, err)
	return ring
}

func benchRequest() Request {
	return Request{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Time: time.Unix(1614265330, 0), Body: bytes.Repeat([]byte("x"), 1024)}
}

func BenchmarkSign(b *testing.B) {
	ring, request := benchRing(b), benchRequest()
	for _, schemes := range [][]string{{V1}, {V1a}, {V1, V1a}} {
		name := schemes[0]
		if len(schemes) > 1 {
			name = "both"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := (Signer{}).Sign(request, schemes, ring); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	ring, request := benchRing(b), benchRequest()
	for _, key := range ring.Keys() {
		verifier, err := key.Verifier()
		require.NoError(b, err)
		fields, _, err := Signer{}.Sign(request, []string{key.Scheme}, ring)
		require.NoError(b, err)
		h := http.Header{}
		for _, f := range fields {
			h.Set(f.Name, f.Value)
		}
		verifiers := []Verifier{verifier}
		b.Run(key.Scheme, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := VerifyStandard(h, request.Body, verifiers, request.Time, 0); err != nil {
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
	ring, request, schemes := benchRing(t), benchRequest(), []string{V1}
	sign := func() {
		if _, _, err := (Signer{}).Sign(request, schemes, ring); err != nil {
			t.Error(err)
		}
	}
	assert.LessOrEqual(t, testing.AllocsPerRun(200, sign), 6.0)
}
