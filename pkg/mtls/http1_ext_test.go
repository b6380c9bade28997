package mtls_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// answers makes a receiver that reads whole requests and gives the same answer to each.
func answers(text string) func(*line) {
	return func(l *line) {
		for {
			if _, _, ok := l.request(); !ok {
				return
			}
			l.say(text)
		}
	}
}

// TestHTTP1Answers holds every strange answer against three things: what the caller is told, whether the connection is
// used again, and that the request after it gets its own answer.
func TestHTTP1Answers(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	chunks := func(n int) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", n) + "0\r\n\r\n"
	}
	for name, tc := range map[string]struct {
		answer string
		closes bool // the receiver closes after the answer
		status int  // 0: no response
		body   int  // bytes of the response that are kept
		detail string
		reused bool
	}{
		"plain":                           {answer: okay, status: 200, body: 2, reused: true},
		"no content":                      {answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, reused: true},
		"not modified":                    {answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", status: 304, reused: true},
		"chunked":                         {answer: chunks(3), status: 200, body: 3, reused: true},
		"many chunks":                     {answer: chunks(10 << 10), status: 200, body: 4 << 10, reused: true},
		"chunked with trailer":            {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n", status: 200, reused: true},
		"long but bounded":                {answer: "HTTP/1.1 500 X\r\nContent-Length: 102400\r\n\r\n" + long, status: 500, body: 4 << 10, reused: true},
		"early hints and processing":      {answer: "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + okay, status: 200, body: 2, reused: true},
		"bare line feeds":                 {answer: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", status: 200, body: 2, reused: true},
		"asks to close":                   {answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: 2},
		"HTTP/1.0":                        {answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: 2},
		"HTTP/1.0 until the end":          {answer: "HTTP/1.0 200 OK\r\n\r\nok", closes: true, status: 200, body: 2},
		"until the end":                   {answer: "HTTP/1.1 200 OK\r\n\r\nok", closes: true, status: 200, body: 2},
		"keep-alive of one second":        {answer: "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok", status: 200, body: 2},
		"longer than may be drained":      {answer: "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + strings.Repeat(long, 10), status: 200, body: 4 << 10},
		"an endless body":                 {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+long[:4096]+"\r\n", 200), status: 200, body: 4 << 10},
		"a body that is cut":              {answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", closes: true, status: 200, body: 2},
		"204 with a body":                 {answer: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", status: 204},
		"a second answer in advance":      {answer: okay + "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", status: 200, body: 2},
		"garbage after the answer":        {answer: okay + "x", status: 200, body: 2},
		"a flood of interim answers":      {answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50) + okay, detail: "interim"},
		"switching protocols":             {answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", detail: "switch protocols"},
		"a header of megabytes":           {answer: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat(long, 20) + "\r\n\r\n", detail: "longer"},
		"a header just beyond the bound":  {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + long[:70<<10] + "\r\n\r\n", detail: "longer"},
		"headers without end":             {answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 100_000), detail: "longer"},
		"not HTTP":                        {answer: "SSH-2.0-OpenSSH_9\r\n\r\n", detail: "valid HTTP"},
		"status 099":                      {answer: "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", detail: "valid HTTP"},
		"two lengths":                     {answer: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", detail: "valid HTTP"},
		"a header that is cut":            {answer: "HTTP/1.1 200 O", closes: true, detail: "ended before a complete answer"},
		"an answer in the wrong protocol": {answer: "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				receiver := p.script(p.serverTLS(), func(l *line) {
					for first := true; ; first = false {
						r, _, ok := l.request()
						if !ok {
							return
						}
						if l.number > 1 || !first {
							l.say(fmt.Sprintf("HTTP/1.1 299 X\r\nX-Echo: %s\r\nContent-Length: 0\r\n\r\n", r.Header.Get("Webhook-Id")))
							continue
						}
						l.say(tc.answer)
						if tc.closes {
							_ = l.Close()
							return
						}
					}
				})
				pool := p.pool()
				response, err := pool.Do(soon(t), p.target(receiver.address), post(1024))
				if tc.status == 0 {
					f := failureOf(t, err)
					assert.Equal(t, mtls.ConnectionLost, f.Kind, "%v", err)
					assert.Contains(t, f.Detail, tc.detail)
					assert.True(t, f.BodySent)
				} else {
					require.NoError(t, err)
					assert.Equal(t, tc.status, response.Status)
					assert.Len(t, response.Body, tc.body)
					assert.False(t, response.Reused)
				}
				synctest.Wait()
				second := post(10)
				second.Header.Set("Webhook-Id", "msg_2")
				response, err = pool.Do(soon(t), p.target(receiver.address), second)
				require.NoError(t, err)
				assert.Equal(t, 299, response.Status, "the second request got the answer to the first")
				assert.Equal(t, "msg_2", response.Header.Get("X-Echo"))
				assert.Equal(t, tc.reused, response.Reused)
			})
		})
	}
}

// TestHTTP1Unsolicited sends something on an idle connection, in every place where it can wait.
func TestHTTP1Unsolicited(t *testing.T) {
	p := newPeers(t, true) // what waits in the kernel shows on sockets only
	for name, trick := range map[string]func(*line){
		"in one record":           func(l *line) { l.say(okay + "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n") },
		"in the next record":      func(l *line) { l.say(okay); l.say("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n") },
		"a close notify":          func(l *line) { l.say(okay); _ = l.CloseWrite() },
		"an end without a notify": func(l *line) { l.say(okay); _ = l.raw.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				told := make(chan struct{}, 1)
				receiver := p.script(p.serverTLS(), func(l *line) {
					if l.number > 1 {
						answers("HTTP/1.1 299 X\r\nContent-Length: 0\r\n\r\n")(l)
						return
					}
					l.request()
					trick(l)
					told <- struct{}{}
					l.drain()
				})
				pool := p.pool()
				response, err := pool.Do(soon(t), p.target(receiver.address), post(10))
				require.NoError(t, err)
				require.Equal(t, 200, response.Status)
				<-told
				response, err = pool.Do(soon(t), p.target(receiver.address), post(10))
				require.NoError(t, err)
				require.Equal(t, 299, response.Status)
				pool.Close()
			}
		})
	}
}

func TestHTTP1HeldBody(t *testing.T) {
	long := 64 << 10
	for name, tc := range map[string]struct {
		serve  func(*line)
		status int
		kind   mtls.Kind
		took   time.Duration
		body   bool // the receiver has the whole body in the end
	}{
		"continue": {serve: answers(okay), status: 200, body: true},
		"never continues": {status: 200, took: time.Second, body: true, serve: func(l *line) {
			if r, ok := l.header(); ok {
				readBody(r)
				l.say(okay)
			}
		}},
		"hints, then never continues": {status: 200, took: time.Second, body: true, serve: func(l *line) {
			if r, ok := l.header(); ok {
				l.say("HTTP/1.1 103 Early Hints\r\n\r\n")
				readBody(r)
				l.say(okay)
			}
		}},
		"refuses the message": {status: 413, serve: func(l *line) {
			l.header()
			l.say("HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")
			l.drain()
		}},
		"refuses expectations": {status: 200, body: true, serve: func(l *line) {
			r, ok := l.header()
			switch {
			case !ok:
			case r.Header.Get("Expect") != "":
				l.say("HTTP/1.1 417 X\r\nContent-Length: 0\r\n\r\n")
			default:
				readBody(r)
				l.say(okay)
			}
		}},
		"answers first, reads afterwards": {status: 200, body: true, serve: func(l *line) {
			if r, ok := l.header(); ok {
				l.say(okay)
				readBody(r)
			}
		}},
		"continues, then cuts": {kind: mtls.ConnectionLost, body: true, serve: func(l *line) {
			l.request()
		}},
		"hints, then cuts": {kind: mtls.ConnectionLost, serve: func(l *line) {
			l.header()
			l.say("HTTP/1.1 103 Early Hints\r\n\r\n")
		}},
		"says nothing": {kind: mtls.TimedOut, took: 20 * time.Second, body: true, serve: func(l *line) { l.drain() }},
		"trickles its answer": {kind: mtls.TimedOut, took: 20 * time.Second, body: true, serve: func(l *line) {
			l.request()
			l.say("HTTP/1.1 2")
			l.drain()
		}},
		"trickles its body": {status: 200, took: 20 * time.Second, body: true, serve: func(l *line) {
			l.request()
			l.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
			l.drain()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				receiver := p.script(p.serverTLS(), func(l *line) { tc.serve(l); _ = l.Close() })
				pool := p.pool()
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				response, err := pool.Do(ctx, p.target(receiver.address), post(long))
				assert.InDelta(t, tc.took, time.Since(began), float64(300*time.Millisecond))
				if tc.kind != 0 {
					assert.Equal(t, tc.kind, failureOf(t, err).Kind, "%v", err)
				} else {
					require.NoError(t, err)
					assert.Equal(t, tc.status, response.Status)
				}
				synctest.Wait()
				assert.Equal(t, tc.body, strings.Count(receiver.decrypted(), "B") == long)
				if !tc.body {
					assert.NotContains(t, receiver.decrypted(), "BBB")
				}
				pool.Close()
				synctest.Wait()
				assert.Zero(t, p.open.Load())
			})
		})
	}
}

func readBody(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }

// TestHTTP1SilenceIsRemembered pays for a receiver that does not know expectations once, not once a connection.
func TestHTTP1SilenceIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		receiver := p.script(p.serverTLS(), func(l *line) {
			if r, ok := l.header(); ok {
				readBody(r)
				l.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				l.drain()
			}
		})
		pool := p.pool()
		for i := range 5 {
			began := time.Now()
			_, err := pool.Do(soon(t), p.target(receiver.address), post(64<<10))
			require.NoError(t, err)
			if i == 0 {
				assert.Equal(t, time.Second, time.Since(began))
			} else {
				assert.LessOrEqual(t, time.Since(began), 20*time.Millisecond)
			}
		}
		assert.EqualValues(t, 5, receiver.accepts.Load())
		assert.Equal(t, 1, strings.Count(receiver.decrypted(), "Expect: 100-continue"))
	})
}

func TestHTTP1OutlivesTheDeadlineOfTheRequestBefore(t *testing.T) {
	p := newPeers(t, true)
	receiver := p.script(p.serverTLS(), answers(okay))
	pool := p.pool()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := pool.Do(ctx, p.target(receiver.address), post(10))
	require.NoError(t, err)
	<-ctx.Done()
	response, err := pool.Do(t.Context(), p.target(receiver.address), post(10))
	require.NoError(t, err)
	assert.True(t, response.Reused)
}

// TestHTTP1CancelledInEveryPhase ends ctx, which has no deadline, while the receiver stands still somewhere.
func TestHTTP1CancelledInEveryPhase(t *testing.T) {
	for name, serve := range map[string]func(*line, func()){
		"before the header is read": func(_ *line, reached func()) { reached() },
		"body held":                 func(l *line, reached func()) { l.header(); reached() },
		"after hints":               func(l *line, reached func()) { l.header(); l.say("HTTP/1.1 103 X\r\n\r\n"); reached() },
		"body on its way":           func(l *line, reached func()) { l.header(); l.say("HTTP/1.1 100 X\r\n\r\n"); reached() },
		"body read":                 func(l *line, reached func()) { l.request(); reached() },
		"half a header":             func(l *line, reached func()) { l.request(); l.say("HTTP/1.1 20"); reached() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				receiver := p.script(p.serverTLS(), func(l *line) {
					serve(l, cancel)
					<-ctx.Done()
					synctest.Wait()
				})
				began := time.Now()
				_, err := p.pool(func(o *mtls.Options) { o.FirstWait = time.Hour }).Do(ctx, p.target(receiver.address), post(4<<20))
				f := failureOf(t, err)
				assert.Equal(t, mtls.TimedOut, f.Kind, "%v", err)
				assert.Contains(t, f.Detail, "given up on this side")
				assert.Less(t, time.Since(began), time.Second)
			})
		})
	}
}

// TestHTTP1ClosedWhileIdle closes every kept connection at once, where only a failed exchange can show it: not one
// delivery may fail.
func TestHTTP1ClosedWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		cut := make(chan struct{})
		receiver := p.script(p.serverTLS(), func(l *line) {
			if l.number <= 16 {
				go func() { <-cut; _ = l.raw.Close() }()
			}
			for {
				if _, _, ok := l.request(); !ok {
					return
				}
				time.AfterFunc(time.Second, func() { l.say(okay) })
			}
		})
		pool := p.pool()
		many := func(reused bool) {
			var group sync.WaitGroup
			for range 16 {
				group.Go(func() {
					response, err := pool.Do(t.Context(), p.target(receiver.address), post(100))
					if assert.NoError(t, err) {
						assert.Equal(t, reused, response.Reused)
					}
				})
			}
			group.Wait()
		}
		many(false)
		many(true)
		require.EqualValues(t, 16, receiver.accepts.Load())
		close(cut)
		synctest.Wait()
		many(false)
		many(true)
		assert.EqualValues(t, 32, receiver.accepts.Load())
	})
}
