package receiver

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// BenchmarkOnce is what remembering costs, without a network.
func BenchmarkOnce(b *testing.B) {
	l := newLedger(NewMemory(0))
	at := time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.now = func() time.Time { return at.Add(time.Duration(i) * 20 * time.Millisecond) }
		a := l.attempt(signature.Verified{ID: strconv.Itoa(i), Time: l.now()}, nil)
		if state, _, err := l.begin(b.Context(), &a); state != claimed {
			b.Fatal(state, err)
		}
		if err := l.end(b.Context(), &a, done); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRequest is a whole request of 1 KiB, with one signature of v1.
func BenchmarkRequest(b *testing.B) {
	key, err := signature.ParseSecret(signature.V1, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		b.Fatal(err)
	}
	verifier, err := key.Verifier()
	if err != nil {
		b.Fatal(err)
	}
	key.State = signature.Active
	ring, err := signature.NewRing(key)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	guard, err := Options{Clients: []string{"a.example"}, Keys: []signature.Verifier{verifier}, Now: func() time.Time { return now }}.guard()
	if err != nil {
		b.Fatal(err)
	}
	state := stateOf(&x509.Certificate{DNSNames: []string{"a.example"}, NotBefore: now, NotAfter: now.AddDate(1, 0, 0)})
	body := strings.Repeat("x", 1<<10)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		now = now.Add(20 * time.Millisecond)
		fields, _, err := signature.Signer{}.Sign(signature.Request{ID: strconv.Itoa(i), Time: now, Body: []byte(body)}, []string{signature.V1}, ring)
		if err != nil {
			b.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		req.TLS = state
		for _, f := range fields {
			req.Header.Set(f.Name, f.Value)
		}
		recorder := httptest.NewRecorder()
		b.StartTimer()
		guard.serve(recorder, req, nothing)
		if recorder.Code != http.StatusOK {
			b.Fatal(recorder.Code, recorder.Body)
		}
	}
}

// BenchmarkMemory tells how many bytes a remembered delivery takes.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		l := newLedger(NewMemory(0))
		before := heapInUse()
		const n = 100_000
		for i := range n {
			a := l.attempt(signature.Verified{ID: strconv.Itoa(i), Time: time.Now()}, nil)
			if _, _, err := l.begin(b.Context(), &a); err != nil {
				b.Fatal(err)
			}
			if err := l.end(b.Context(), &a, done); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heapInUse()-before)/n, "B/delivery")
		if l.store == nil {
			b.Fatal("the store is alive until here")
		}
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
