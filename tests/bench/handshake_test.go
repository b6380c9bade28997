package main

import (
	"crypto/tls"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// sides are both sides of the comparison, against one fleet.
func sides(tb testing.TB) (*fleet, *bare, *pooled) {
	tb.Helper()
	f, err := openFleet(false, true)
	require.NoError(tb, err)
	tb.Cleanup(f.close)
	l, err := newLoad()
	require.NoError(tb, err)
	body, err := l.body(0)
	require.NoError(tb, err)
	p, err := newPooled(f, body, mtls.Options{})
	require.NoError(tb, err)
	return f, newBare(f, body), p
}

// Every connection of either side is a full mutual handshake with one request, as the receivers count.
func TestHandshakesAreFull(t *testing.T) {
	f, bare, pooled := sides(t)
	for name, side := range map[string]opener{"bare": bare, "pooled": pooled} {
		t.Run(name, func(t *testing.T) {
			before := f.count()
			require.NoError(t, side.open(t.Context(), batch, together))
			require.NoError(t, onlyFull(before, f.count(), batch))
			assert.Error(t, onlyFull(before, f.count(), batch+1))
		})
	}
}

// A loop that resumes sessions would be compared with one that does not.
func TestResumedHandshakesAreFound(t *testing.T) {
	f, bare, _ := sides(t)
	bare.dialer.Config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	before := f.count()
	for range 2 {
		require.NoError(t, bare.once(t.Context(), 0))
	}
	assert.ErrorContains(t, onlyFull(before, f.count(), 2), "2 requests, 2 handshakes and 1 of these resumed")
}

// What goes wrong on either side must end the comparison and say on which.
func TestCompareTellsWhoFailed(t *testing.T) {
	f, bare, pooled := sides(t)
	bare.body = bare.body[1:]
	for i := range bare.header {
		bare.header[i] = []byte("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 1023\r\nExpect: 100-continue\r\n\r\n")
	}
	_, err := compare(t.Context(), f, bare, pooled, 1, 1)
	require.ErrorContains(t, err, "bare dial loop: the receiver answered HTTP 422 instead of 204")

	_, bare, pooled = sides(t)
	for _, request := range pooled.requests {
		request.Body = request.Body[1:]
	}
	_, err = compare(t.Context(), f, bare, pooled, 1, 1)
	require.ErrorContains(t, err, "pool: the receiver answered HTTP 422 instead of 204")
}

func TestMeasureHandshakes(t *testing.T) {
	measured, err := measureHandshakes(t.Context(), 8, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for _, c := range []comparison{measured.comparison, measured.Concurrent} {
		assert.InEpsilon(t, c.Pool/c.Bare, c.Ratio, 0.01, "one batch each: the ratio is that of the figures")
		assert.InEpsilon(t, c.PoolCPU/c.BareCPU, c.CPURatio, 0.01)
	}
}

// BenchmarkHandshake is for profiles of either side alone.
func BenchmarkHandshake(b *testing.B) {
	_, bare, pooled := sides(b)
	for name, side := range map[string]opener{"bare": bare, "pool": pooled} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for left := b.N; left > 0; left -= batch {
				require.NoError(b, side.open(b.Context(), min(left, batch), 1))
			}
		})
	}
}
