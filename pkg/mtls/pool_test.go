package mtls

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2"
)

func TestKindsHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for k := ClientCertificateNotRequested; k <= NoIdentity; k++ {
		name := k.String()
		assert.NotEqual(t, "unknown", name)
		assert.False(t, seen[name], name)
		seen[name] = true
	}
	assert.Equal(t, "unknown", Kind(0).String())
	assert.Equal(t, "unknown", (NoIdentity + 1).String())
}

func TestUnprocessed(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want processing
	}{
		"refused":       {http2.StreamError{Code: http2.ErrCodeRefusedStream}, refusedStream},
		"cancelled":     {http2.StreamError{Code: http2.ErrCodeCancel}, maybeProcessed},
		"unusable":      {errors.New("http2: client conn not usable"), goneAway},
		"anything else": {errors.New("http2: client conn is sad"), maybeProcessed},
	} {
		assert.Equal(t, tc.want, unprocessed(tc.err), name)
	}
}

func TestKeepAlive(t *testing.T) {
	for value, want := range map[string]float64{
		"timeout=5": 5, "timeout=5, max=100": 5, "max=1,Timeout=7": 7, "timeout=0": 0,
		"": -1, "timeout": -1, "timeout=-1": -1, "timeout=99999": -1, "timeout=x": -1, "max=5": -1,
	} {
		got, ok := keepAlive(value)
		assert.Equal(t, want >= 0, ok, value)
		if ok {
			assert.InDelta(t, want, got.Seconds(), 0, value)
		}
	}
}
