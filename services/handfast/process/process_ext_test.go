package process_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/services/handfast/process"
)

func TestLifecycleStopsInReverseAndTellsEveryFailure(t *testing.T) {
	var l process.Lifecycle
	var order []string
	for _, name := range []string{"first", "second", "third"} {
		l.Started(name, func(context.Context) error {
			order = append(order, name)
			if name == "second" {
				return nil
			}
			return errors.New("stuck")
		})
	}
	err := l.Stop(t.Context())
	require.EqualError(t, err, "stop third: stuck\nstop first: stuck")
	assert.Equal(t, []string{"third", "second", "first"}, order)
	require.NoError(t, l.Stop(t.Context()), "everything is stopped once")
	assert.Len(t, order, 3)
}

func TestLifecycleBoundsAPartThatDoesNotEnd(t *testing.T) {
	var l process.Lifecycle
	release := make(chan struct{})
	ended := l.Run("mule", func(context.Context) error { <-release; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.EqualError(t, l.Stop(ctx), "stop mule: did not end in time: context canceled")
	close(release)
	<-ended
}

func TestHandlerSaysWhyItIsNotReady(t *testing.T) {
	var reason atomic.Pointer[error]
	handler := process.Handler(func() error {
		if err := reason.Load(); err != nil {
			return *err
		}
		return nil
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "handfast_up 1\n") }))
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		return w.Code, w.Body.String()
	}
	status, text := get("/readyz")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "ready\n", text)

	away := errors.New("no connection to NATS at nats://a:1")
	reason.Store(&away)
	status, text = get("/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "not ready: no connection to NATS at nats://a:1\n", text)
	status, _ = get("/healthz")
	assert.Equal(t, http.StatusOK, status, "not ready is no reason to be killed")
	_, text = get("/metrics")
	assert.Equal(t, "handfast_up 1\n", text)
	status, _ = get("/")
	assert.Equal(t, http.StatusNotFound, status)
}

func TestServeEndsWithTheLifecycle(t *testing.T) {
	var l process.Lifecycle
	logger := slog.New(slog.DiscardHandler)
	address, err := process.Serve(t.Context(), &l, "127.0.0.1:0", process.Handler(func() error { return nil }, http.NotFoundHandler()), logger)
	require.NoError(t, err)
	answer, err := http.Get("http://" + address + "/healthz")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, http.StatusOK, answer.StatusCode)

	var other process.Lifecycle
	_, err = process.Serve(t.Context(), &other, address, http.NotFoundHandler(), logger)
	require.ErrorContains(t, err, "address already in use; choose another address with --http, or switch it off with --http=")

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.NoError(t, l.Stop(ctx))
	_, err = http.Get("http://" + address + "/healthz")
	require.Error(t, err)

	address, err = process.Serve(t.Context(), &l, "", http.NotFoundHandler(), logger)
	require.NoError(t, err)
	assert.Empty(t, address, "an empty address serves nothing")
}
