package receiver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

// direct is a receiver without a network, whose client is known, for what happens behind the proofs.
type direct struct {
	t       *testing.T
	key     signature.Key
	state   *tls.ConnectionState
	handler http.Handler
	calls   int
	answer  http.HandlerFunc
}

func newDirect(t *testing.T, change func(*receiver.Options)) *direct {
	t.Helper()
	ca, err := newAuthority()
	require.NoError(t, err)
	cert, err := ca.issue("x", sender)
	require.NoError(t, err)
	leaf, err := parseLeaf(cert)
	require.NoError(t, err)
	key, verifier, err := newKey(signature.V1)
	require.NoError(t, err)
	opts := receiver.Options{Clients: []string{sender}, Keys: []signature.Verifier{verifier}}
	if change != nil {
		change(&opts)
	}
	guard, err := receiver.New(opts)
	require.NoError(t, err)
	d := &direct{t: t, key: key, state: verifiedState(leaf), answer: answering(http.StatusOK).ServeHTTP}
	d.handler = guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.calls++
		d.answer(w, r)
	}))
	return d
}

func (d *direct) request(id string, at time.Time, body string) *http.Request {
	signed, err := signedPost(d.t.Context(), "https://hooks.example/in", id, at, []byte(body), d.key)
	require.NoError(d.t, err)
	req := httptest.NewRequest(http.MethodPost, "/in", signed.Body).WithContext(d.t.Context())
	req.Header, req.TLS = signed.Header, d.state
	return req
}

func (d *direct) send(req *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	d.handler.ServeHTTP(recorder, req)
	return recorder
}

// attempt sends the delivery "a", signed so many seconds from now.
func (d *direct) attempt(seconds int) *httptest.ResponseRecorder {
	return d.send(d.request("a", time.Now().Add(time.Duration(seconds)*time.Second), "{}"))
}

func TestOnlySuccessCounts(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		again  int // what a later attempt gets from a handler that answers 200
		calls  int
	}{
		"200":         {answering(200).ServeHTTP, 204, 1},
		"299":         {answering(299).ServeHTTP, 204, 1},
		"says no":     {func(http.ResponseWriter, *http.Request) {}, 204, 1},
		"only writes": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, 204, 1},
		"103, 200":    {answering(103, 200).ServeHTTP, 204, 1},
		"103, 500":    {answering(103, 500).ServeHTTP, 200, 2},
		"500, 200":    {answering(500, 200).ServeHTTP, 200, 2},
		"302":         {answering(302).ServeHTTP, 200, 2},
		"400":         {answering(400).ServeHTTP, 200, 2},
		"429":         {answering(429).ServeHTTP, 200, 2},
		"500":         {answering(500).ServeHTTP, 200, 2},
		"503":         {answering(503).ServeHTTP, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, nil)
			d.answer = c.answer
			d.attempt(0)
			assert.Equal(t, receiver.StatusReplay, d.attempt(0).Code, "the same attempt is never run twice")
			d.answer = answering(http.StatusOK).ServeHTTP
			assert.Equal(t, c.again, d.attempt(1).Code)
			assert.Equal(t, c.calls, d.calls)
			assert.Equal(t, http.StatusNoContent, d.attempt(2).Code, "now it is done in any case")
			assert.Equal(t, c.calls, d.calls)
		})
	}
}

func TestPanicIsNoSuccess(t *testing.T) {
	d := newDirect(t, nil)
	d.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	}
	assert.PanicsWithError(t, http.ErrAbortHandler.Error(), func() { d.attempt(0) }, "the server has to see it")
	d.answer = answering(http.StatusAccepted).ServeHTTP
	assert.Equal(t, http.StatusAccepted, d.attempt(1).Code)
}

func TestBusy(t *testing.T) {
	d := newDirect(t, nil)
	d.answer = func(w http.ResponseWriter, _ *http.Request) {
		inner := d.attempt(1) // while the first runs
		assert.Equal(t, http.StatusServiceUnavailable, inner.Code)
		wait, err := strconv.Atoi(inner.Header().Get("Retry-After"))
		assert.NoError(t, err)
		assert.Positive(t, wait)
		assert.LessOrEqual(t, wait, 30)
		w.WriteHeader(http.StatusNoContent)
	}
	assert.Equal(t, http.StatusNoContent, d.attempt(0).Code)
	assert.Equal(t, 1, d.calls)
}

func TestOneIDIsOneBody(t *testing.T) {
	d := newDirect(t, nil)
	require.Equal(t, http.StatusOK, d.attempt(0).Code)
	other := d.send(d.request("a", time.Now().Add(time.Second), "[]"))
	assert.Equal(t, http.StatusConflict, other.Code)
	assert.Contains(t, other.Body.String(), "another body")
	assert.Equal(t, 1, d.calls)
}

func TestHandlerHasADeadline(t *testing.T) {
	d := newDirect(t, func(o *receiver.Options) { o.HandlerTimeout = time.Millisecond })
	d.answer = func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		assert.ErrorIs(t, r.Context().Err(), context.DeadlineExceeded)
		w.WriteHeader(http.StatusInternalServerError)
	}
	assert.Equal(t, http.StatusInternalServerError, d.attempt(0).Code)
}

// TestAClientThatHangsUp does not undo what the handler has done.
func TestAClientThatHangsUp(t *testing.T) {
	d := newDirect(t, func(o *receiver.Options) { o.Store = minding{receiver.NewMemory(0)} })
	ctx, hangUp := context.WithCancel(t.Context())
	d.answer = func(http.ResponseWriter, *http.Request) { hangUp() }
	d.send(d.request("a", time.Now(), "{}").WithContext(ctx))
	assert.Equal(t, http.StatusNoContent, d.attempt(1).Code)
	assert.Equal(t, 1, d.calls)
}

// minding is a store across a network: it stops when its context does.
type minding struct{ receiver.Store }

func (s minding) Swap(ctx context.Context, key string, old, value []byte, keep receiver.Keep) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return s.Store.Swap(ctx, key, old, value, keep)
}

type deadStore struct{}

func (deadStore) Get(context.Context, string) ([]byte, error) {
	return nil, errors.New("redis://secret@host is down")
}

func (deadStore) Swap(context.Context, string, []byte, []byte, receiver.Keep) (bool, error) {
	return false, errors.New("redis://secret@host is down")
}

func TestNothingIsProcessedWithoutTheStore(t *testing.T) {
	d := newDirect(t, func(o *receiver.Options) { o.Store = deadStore{} })
	reply := d.attempt(0)
	assert.Equal(t, http.StatusServiceUnavailable, reply.Code)
	assert.NotEmpty(t, reply.Header().Get("Retry-After"))
	assert.NotContains(t, reply.Body.String(), "secret", "our trouble is not the caller's to read")
	assert.Zero(t, d.calls)
}

func TestAFullMemoryRefuses(t *testing.T) {
	d := newDirect(t, func(o *receiver.Options) { o.Store = receiver.NewMemory(1) })
	require.Equal(t, http.StatusOK, d.attempt(0).Code)
	assert.Equal(t, http.StatusServiceUnavailable, d.send(d.request("b", time.Now(), "{}")).Code)
	assert.Equal(t, 1, d.calls)
}

func TestResponseController(t *testing.T) {
	d := newDirect(t, nil)
	d.answer = func(w http.ResponseWriter, _ *http.Request) { assert.NoError(t, http.NewResponseController(w).Flush()) }
	assert.True(t, d.attempt(0).Flushed)
}
