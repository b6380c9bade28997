package mtls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/handfast/handfast/pkg/mtls"
)

func onlyHTTP2(c *tls.Config) { c.NextProtos = []string{"h2"} }

// frames is an HTTP/2 receiver by hand: it answers settings and pings, and calls asked at the end of each request.
func frames(settings []http2.Setting, asked func(f *http2.Framer, stream uint32, number int)) func(*line) {
	return func(l *line) {
		if _, err := io.ReadFull(l.br, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(l.Conn, l.br)
		_ = f.WriteSettings(settings...)
		for number := 0; ; {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !frame.IsAck() {
					_ = f.WritePing(true, frame.Data)
				}
			case *http2.HeadersFrame:
				if frame.StreamEnded() { // the request without a body that comes first
					answer(f, frame.StreamID, "405")
				}
			case *http2.DataFrame:
				if frame.StreamEnded() {
					number++
					asked(f, frame.StreamID, number)
				}
			}
		}
	}
}

func answer(f *http2.Framer, stream uint32, status string) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
}

func TestHTTP2Endings(t *testing.T) {
	for name, tc := range map[string]struct {
		// ending is what the receiver does with the first request on the first connection, or, with second, the second.
		ending  func(l *line, f *http2.Framer, stream uint32)
		second  bool
		status  int // of that request in the end
		kind    mtls.Kind
		detail  string
		accepts int64
	}{
		"refused stream is tried again there": {accepts: 1, status: 200, ending: func(_ *line, f *http2.Framer, stream uint32) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}},
		"graceful goaway before the request": {accepts: 2, status: 200, second: true, ending: func(_ *line, f *http2.Framer, stream uint32) {
			_ = f.WriteGoAway(stream-2, http2.ErrCodeNo, nil)
		}},
		"graceful goaway before the first request": {accepts: 2, status: 200, ending: func(_ *line, f *http2.Framer, _ uint32) {
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		}},
		"goaway, then the request is answered all the same": {accepts: 2, status: 201, ending: func(_ *line, f *http2.Framer, stream uint32) {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
			answer(f, stream, "201")
		}},
		"kept connection cut": {accepts: 2, status: 200, second: true, ending: func(l *line, _ *http2.Framer, _ uint32) {
			_ = l.raw.Close()
		}},
		"kept connection ended by an angry goaway": {accepts: 2, status: 200, second: true, ending: func(l *line, f *http2.Framer, stream uint32) {
			_ = f.WriteGoAway(stream, http2.ErrCodeEnhanceYourCalm, nil)
			_ = l.raw.Close()
		}},
		"new connection cut": {accepts: 2, kind: mtls.ConnectionLost, detail: "ended before a complete answer", ending: func(l *line, _ *http2.Framer, _ uint32) {
			_ = l.raw.Close()
		}},
		"stream reset": {accepts: 1, kind: mtls.ConnectionLost, detail: "INTERNAL_ERROR", ending: func(_ *line, f *http2.Framer, stream uint32) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
		}},
		"HTTP/1.1 required": {accepts: 1, kind: mtls.ConnectionLost, detail: "HTTP_1_1_REQUIRED", ending: func(_ *line, f *http2.Framer, stream uint32) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeHTTP11Required)
		}},
		"never answered": {accepts: 1, kind: mtls.TimedOut, detail: "did not answer", ending: func(*line, *http2.Framer, uint32) {}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				at := 1
				if tc.second {
					at = 2
				}
				receiver := p.script(p.serverTLS(onlyHTTP2), func(l *line) {
					frames(nil, func(f *http2.Framer, stream uint32, number int) {
						if l.number == 1 && number == at {
							tc.ending(l, f, stream)
							return
						}
						answer(f, stream, "200")
					})(l)
				})
				pool := p.pool()
				do := func() (*mtls.Response, error) {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					return pool.Do(ctx, p.target(receiver.address), post(1000))
				}
				if tc.second {
					_, err := do()
					require.NoError(t, err)
				}
				response, err := do()
				if tc.kind == 0 {
					require.NoError(t, err)
					assert.Equal(t, tc.status, response.Status)
				} else {
					f := failureOf(t, err)
					assert.Equal(t, tc.kind, f.Kind, "%v", err)
					assert.Contains(t, f.Detail, tc.detail)
				}
				synctest.Wait()
				response, err = do()
				require.NoError(t, err)
				assert.Equal(t, 200, response.Status)
				assert.Equal(t, tc.accepts, receiver.accepts.Load())
				pool.Close()
				synctest.Wait()
				assert.Zero(t, p.open.Load())
			})
		})
	}
}

func TestHTTP2RefusesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		var asked atomic.Int64
		receiver := p.script(p.serverTLS(onlyHTTP2), frames(nil, func(f *http2.Framer, stream uint32, _ int) {
			asked.Add(1)
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}))
		_, err := p.pool().Do(t.Context(), p.target(receiver.address), post(10))
		f := failureOf(t, err)
		assert.Equal(t, mtls.ConnectionLost, f.Kind)
		assert.Equal(t, mtls.Said, f.Basis)
		assert.Contains(t, f.Detail, "REFUSED_STREAM")
		assert.EqualValues(t, 3, asked.Load())
		assert.EqualValues(t, 1, receiver.accepts.Load())
	})
}

// TestHTTP2ClosedWhileIdle loses every kept connection between two requests.
func TestHTTP2ClosedWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		lines := make(chan *line, 10)
		receiver := p.script(p.serverTLS(onlyHTTP2), func(l *line) {
			lines <- l
			frames(nil, func(f *http2.Framer, stream uint32, _ int) { answer(f, stream, "200") })(l)
		})
		pool := p.pool()
		for range 5 {
			_, err := pool.Do(t.Context(), p.target(receiver.address), post(10))
			require.NoError(t, err)
			_ = (<-lines).raw.Close()
		}
		assert.EqualValues(t, 5, receiver.accepts.Load())
	})
}

// TestHTTP2OneAtATime is a receiver that allows one request per connection: more connections carry more, none is asked
// for two, and waiters that leave take nothing with them.
func TestHTTP2OneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeers(t, false)
		var working, most atomic.Int64
		receiver := p.script(p.serverTLS(onlyHTTP2), func(l *line) {
			frames([]http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(f *http2.Framer, stream uint32, _ int) {
				most.Store(max(most.Load(), working.Add(1)))
				<-time.After(time.Second)
				working.Add(-1)
				answer(f, stream, "200")
			})(l)
		})
		pool := p.pool(func(o *mtls.Options) { o.ConnectionLimit = 8 })
		var group sync.WaitGroup
		var served, late atomic.Int64
		for range 64 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
				defer cancel()
				_, err := pool.Do(ctx, p.target(receiver.address), post(10))
				if err == nil {
					served.Add(1)
					return
				}
				assert.Equal(t, mtls.TimedOut, failureOf(t, err).Kind, "%v", err)
				late.Add(1)
			})
		}
		group.Wait()
		assert.EqualValues(t, 24, served.Load(), "8 connections in 3.5 seconds")
		assert.EqualValues(t, 40, late.Load())
		assert.EqualValues(t, 8, most.Load())
		assert.EqualValues(t, 8, receiver.accepts.Load())

		synctest.Wait()
		for range 3 { // nothing stays reserved for those who left
			_, err := pool.Do(t.Context(), p.target(receiver.address), post(10))
			require.NoError(t, err)
		}
		pass(2 * time.Minute)
		assert.Zero(t, p.open.Load(), "idle connections are closed")
	})
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// TestHTTP2StuckReceiverStopsNobodyElse has a receiver that does not read, so that a write to it blocks inside the HTTP/2
// client with that client's lock held. Other destinations, idle expiry and Close must not wait for it.
func TestHTTP2StuckReceiverStopsNobodyElse(t *testing.T) {
	p := newPeers(t, true) // in a bubble the lock would stop the clock
	over := make(chan struct{})
	stuck := p.script(p.serverTLS(onlyHTTP2), func(l *line) {
		_, _ = io.ReadFull(l.br, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(l.Conn, l.br)
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 64 << 20})
		_ = f.WriteWindowUpdate(0, 64<<20)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if ping, ok := frame.(*http2.PingFrame); ok {
				_ = f.WritePing(true, ping.Data)
				break
			}
		}
		<-over
	})
	fine := p.script(p.serverTLS(), answers(okay))
	pool := p.pool(func(o *mtls.Options) { o.IdleTimeout = 20 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, err := pool.Do(ctx, p.target(stuck.address), post(32<<20))
			assert.Equal(t, mtls.TimedOut, failureOf(t, err).Kind)
		})
	}
	require.Eventually(t, func() bool { return stuck.raw.Load() > 64<<10 || stuck.accepts.Load() > 0 }, 10*time.Second, time.Millisecond)
	for range 10 {
		<-time.After(30 * time.Millisecond) // longer than an idle connection lives, so that the reapers have run
		quick, done := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := pool.Do(quick, p.target(fine.address), post(10))
		done()
		require.NoError(t, err)
	}
	pool.Close()
	cancel()
	group.Wait()
	close(over)
}

// TestHTTP2Forgotten has a firewall that silently forgets the connection: the ping that follows the first timeout finds
// out, and requests after it get a new one. A receiver that is merely slow keeps its connection.
func TestHTTP2Forgotten(t *testing.T) {
	for name, forgotten := range map[string]bool{"forgotten": true, "slow": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeers(t, false)
				receiver := p.script(p.serverTLS(onlyHTTP2), func(l *line) {
					frames(nil, func(f *http2.Framer, stream uint32, number int) {
						switch {
						case l.number > 1 || number != 2:
							answer(f, stream, "200")
						case forgotten:
							<-time.After(time.Minute) // it does not read either
						}
					})(l)
				})
				pool := p.pool()
				var group sync.WaitGroup
				do := func() error {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					_, err := pool.Do(ctx, p.target(receiver.address), post(10))
					return err
				}
				require.NoError(t, do())
				if !forgotten {
					group.Go(func() { // keeps the connection busy over the timeout
						<-time.After(4 * time.Second)
						assert.NoError(t, do())
					})
				}
				assert.Equal(t, mtls.TimedOut, failureOf(t, do()).Kind)
				synctest.Wait()
				began := time.Now()
				require.NoError(t, do())
				assert.Zero(t, time.Since(began))
				group.Wait()
				assert.LessOrEqual(t, receiver.accepts.Load(), int64(2))
				pass(2 * time.Minute)
				assert.Zero(t, p.open.Load())
			})
		})
	}
}

// TestTargetIsWrittenAsGiven compares what both protocols make of odd request targets: a signature may cover them.
func TestTargetIsWrittenAsGiven(t *testing.T) {
	p := newPeers(t, false)
	paths := []string{"/", "/a%2Fb?x=%7e&&y", "/a;b/../c?", "//double//slash?q=//", "/?a=b?c", "/a:b@c", "/x?u=https://e.test/"}
	for _, http2 := range []bool{true, false} {
		seen := make(chan string, 1)
		receiver := p.website(p.serverTLS(), func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI }, http2)
		pool := p.pool()
		for _, path := range paths {
			request := post(10)
			request.Path = path
			_, err := pool.Do(soon(t), p.target(receiver.address), request)
			require.NoError(t, err, path)
			assert.Equal(t, path, <-seen, "http2 %t", http2)
		}
	}
}
