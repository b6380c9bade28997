package mtls_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// TestHTTP2BodiesWaitForTheFirstAnswer has receivers whose TLS accepts everybody, as nginx does. What they say to a
// request without a body decides whether a message follows.
func TestHTTP2BodiesWaitForTheFirstAnswer(t *testing.T) {
	const page = "<html><head><title>400 The SSL certificate error</title></head></html>"
	for name, tc := range map[string]struct {
		first   http.HandlerFunc
		refused bool
		slow    bool
	}{
		"refused by nginx's page": {refused: true, first: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, page)
		}},
		"refused by 495":     {refused: true, first: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(495) }},
		"method not allowed": {first: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) }},
		"another 400":        {first: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }},
		"accepted":           {first: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }},
		"never answered":     {slow: true, first: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeers(t, true)
			var bodies, asked atomic.Int64
			receiver := p.website(p.serverTLS(), func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				bodies.Add(n)
				w.WriteHeader(http.StatusNoContent)
			}, true)
			posts := receiver.server.Handler
			receiver.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodOptions {
					posts.ServeHTTP(w, r)
					return
				}
				asked.Add(1)
				assert.Equal(t, post(0).Path, r.RequestURI)
				n, _ := io.Copy(io.Discard, r.Body)
				bodies.Add(n)
				tc.first(w, r)
			})
			pool := p.pool(func(o *mtls.Options) { o.FirstWait = 200 * time.Millisecond })
			for range 3 {
				_, err := pool.Do(soon(t), p.target(receiver.address), post(64<<10))
				if !tc.refused {
					require.NoError(t, err)
					continue
				}
				failure := failureOf(t, err)
				assert.Equal(t, mtls.ClientCertificateRefused, failure.Kind)
				assert.False(t, failure.BodySent)
			}
			if tc.refused {
				assert.Zero(t, bodies.Load(), "not a byte of a message")
				assert.EqualValues(t, 3, asked.Load(), "a connection that was refused is not used again")
				return
			}
			assert.EqualValues(t, 3*64<<10, bodies.Load())
			assert.EqualValues(t, 1, asked.Load(), "once for a connection")
		})
	}
}

// TestHTTP2ConnectionsThatEndWithTheFirstAnswer has receivers that serve one request on a connection: asking first would
// leave none for the message.
func TestHTTP2ConnectionsThatEndWithTheFirstAnswer(t *testing.T) {
	p := newPeers(t, true)
	var messages, asked atomic.Int64
	receiver := p.website(p.serverTLS(), readAll, true)
	receiver.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodOptions {
			asked.Add(1)
		} else {
			messages.Add(1)
		}
		w.Header().Set("Connection", "close") // a GOAWAY on HTTP/2
		w.WriteHeader(http.StatusNoContent)
	})
	pool := p.pool()
	for range 5 {
		_, err := pool.Do(soon(t), p.target(receiver.address), post(1<<10))
		require.NoError(t, err)
	}
	assert.EqualValues(t, 5, messages.Load())
	assert.LessOrEqual(t, asked.Load(), int64(1), "once is enough to know")
}

// TestHTTP2ConnectionsThatWereRefusedGo has a receiver that refuses request by request, and few connections to it.
func TestHTTP2ConnectionsThatWereRefusedGo(t *testing.T) {
	p := newPeers(t, true)
	receiver := p.website(p.serverTLS(), readAll, true)
	receiver.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(495) })
	pool := p.pool(func(o *mtls.Options) { o.ConnectionLimit = 4 })
	for range 8 {
		_, err := pool.Do(soon(t), p.target(receiver.address), post(1<<10))
		require.Equal(t, mtls.ClientCertificateRefused, failureOf(t, err).Kind)
	}
}
