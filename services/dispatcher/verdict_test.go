package dispatcher

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls"
)

func TestEveryStatusHasItsOutcome(t *testing.T) {
	want := map[int]delivery.Outcome{
		408: delivery.Unavailable, 410: delivery.Gone, 425: delivery.Unavailable, 429: delivery.Throttled,
	}
	for status := 200; status < 600; status++ {
		expected, special := want[status]
		switch {
		case special:
		case status < 300:
			expected = delivery.Delivered
		case status < 400:
			expected = delivery.Redirected
		case status < 500:
			expected = delivery.Rejected
		default:
			expected = delivery.Unavailable
		}
		v := answer("hooks.example.com:443", &mtls.Response{Status: status, Header: http.Header{}}, time.Now())
		assert.Equal(t, expected, v.Outcome, "HTTP %d", status)
		assert.Equal(t, delivery.Said, v.Origin)
		if expected != delivery.Delivered {
			assert.Contains(t, v.Detail, "hooks.example.com:443")
		}
	}
}

func TestRetryAfterCountsWhereWaitingHelps(t *testing.T) {
	for status, want := range map[int]time.Duration{429: time.Minute, 503: time.Minute, 502: time.Minute, 400: 0, 301: 0, 200: 0} {
		v := answer("a:443", &mtls.Response{Status: status, Header: http.Header{"Retry-After": {"60"}}}, time.Now())
		assert.Equal(t, want, v.RetryAfter, "HTTP %d", status)
	}
}

// TestKindsAndOutcomesHaveOneName keeps the bridge between the two closed lists straight.
func TestKindsAndOutcomesHaveOneName(t *testing.T) {
	for kind := mtls.ClientCertificateNotRequested; kind <= mtls.NoIdentity; kind++ {
		assert.Equal(t, kind.String(), outcomeOf(kind).String())
	}
	for basis, origin := range map[mtls.Basis]delivery.Origin{mtls.Said: delivery.Said, mtls.Inferred: delivery.Inferred, mtls.Ours: delivery.Ours} {
		assert.Equal(t, origin, originOf(basis))
	}
}

func TestADispatcherSaysWhatItLacks(t *testing.T) {
	err := check(Config{ID: "no spaces"}, Dependencies{})
	for _, word := range []string{`id "no spaces"`, "NATS", "Logger", "TracerProvider", "MeterProvider"} {
		assert.ErrorContains(t, err, word)
	}
}
