package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

func publisher(t *testing.T, nc *nats.Conn) *stream.Publisher {
	t.Helper()
	p, err := stream.NewPublisher(nc)
	require.NoError(t, err)
	return p
}

func message(subject, data string) *nats.Msg { return &nats.Msg{Subject: subject, Data: []byte(data)} }

func TestEveryAcknowledgementCounts(t *testing.T) {
	t.Parallel()
	b, _ := applied(t)
	p := publisher(t, b.nc)
	const writers, each = 8, 250
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			pending := make([]stream.Pending, each)
			for i := range pending {
				pending[i] = p.Send(message("events.acme.x", "{}"), fmt.Sprintf("%d-%d", w, i%200)) // the last fifty are repetitions
			}
			for i := range pending {
				duplicate, err := pending[i].Wait(t.Context())
				if err != nil {
					t.Error(err)
				}
				assert.Equal(t, i >= 200, duplicate, "the answer belongs to its message")
			}
		})
	}
	group.Wait()
	assert.Equal(t, writers*200, b.count(t, stream.Events))
}

func TestWhatIsNotStoredIsAnError(t *testing.T) {
	t.Parallel()
	b := start(t, embedded.Options{Dir: t.TempDir()})
	p := publisher(t, b.nc)
	_, err := p.Send(message("events.acme.x", "{}"), "").Wait(t.Context())
	require.ErrorIs(t, err, stream.ErrNoStream)
	require.ErrorContains(t, err, "publish to events.acme.x: ")
	require.ErrorContains(t, err, "handfast topology apply")
	assert.False(t, stream.IsFull(err))

	apply(t, b)
	msg := message("events.acme.x", "{}")
	msg.Header = nats.Header{jetstream.ExpectedLastSeqHeader: {"99"}}
	_, err = p.Send(msg, "").Wait(t.Context())
	var api *jetstream.APIError
	require.ErrorAs(t, err, &api, "what the broker says can be decided on")
	assert.Equal(t, jetstream.JSErrCodeStreamWrongLastSequence, api.ErrorCode)

	_, err = p.Send(message("", "{}"), "").Wait(t.Context())
	require.ErrorIs(t, err, nats.ErrBadSubject)
	_, err = p.Send(&nats.Msg{Subject: "events.acme.x", Data: make([]byte, 2<<20)}, "").Wait(t.Context())
	require.ErrorIs(t, err, nats.ErrMaxPayload)
	assert.Zero(t, b.count(t, stream.Events))
}

// TestOnlyAStreamsAnswerIsBelieved lets somebody else answer: whoever may subscribe to a subject can.
func TestOnlyAStreamsAnswerIsBelieved(t *testing.T) {
	t.Parallel()
	b := start(t, embedded.Options{Dir: t.TempDir()})
	p := publisher(t, b.nc)
	for answer, good := range map[string]bool{
		"":                        false,
		"+OK":                     false,
		"{}":                      false,
		`{"stream":"","seq":7}`:   false,
		`{"stream":"S","seq":0}`:  false,
		`{"stream":"S","seq":07}`: false,
		`{"stream":"S"}`:          false,
		`{"seq":7}`:               false,
		`{"stream":"S","seq":7`:   false,
		`{"stream":"S","seq":7}x`: false,
		`{"error":{"code":503,"err_code":10077,"description":"full"},"stream":"S","seq":7}`: false,
		`{"stream":"S","seq":7}`:                       true,
		`{"seq":7, "stream":"S"}`:                      true,
		`{"stream":"S", "domain":"hub", "seq":7}`:      true,
		`{"stream":"a\"b","seq":18446744073709551615}`: true,
	} {
		sub, err := b.nc.Subscribe("somewhere", func(msg *nats.Msg) { _ = msg.Respond([]byte(answer)) })
		require.NoError(t, err)
		duplicate, err := p.Send(message("somewhere", "x"), "").Wait(within(t, 5*time.Second))
		if good {
			require.NoError(t, err, answer)
		} else {
			require.Error(t, err, answer)
			require.NotErrorIs(t, err, context.DeadlineExceeded, answer)
		}
		assert.False(t, duplicate, answer)
		require.NoError(t, sub.Unsubscribe())
	}
}

func TestConfirmWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	b, _ := applied(t)
	b.send(t, message("events.acme.x", "{}"), "")
	events := b.consumer(t, stream.Events, stream.SignerConsumer)
	msg, err := events.Next()
	require.NoError(t, err)
	p := publisher(t, b.nc)
	_, err = p.Confirm(msg).Wait(t.Context())
	require.NoError(t, err)
	info, err := events.Info(t.Context())
	require.NoError(t, err)
	assert.Zero(t, info.NumAckPending, "when Wait returns, the broker has it")

	require.NoError(t, b.js.DeleteConsumer(t.Context(), stream.Events, stream.SignerConsumer))
	_, err = p.Confirm(msg).Wait(t.Context())
	require.ErrorIs(t, err, stream.ErrNoStream, "nobody took it")
}

// silent listens on a subject and never answers.
func silent(t *testing.T, b *broker) {
	t.Helper()
	_, err := b.nc.Subscribe("silent", func(*nats.Msg) {})
	require.NoError(t, err)
}

func TestNoAnswerIsNoAcknowledgement(t *testing.T) {
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b := start(t, embedded.Options{Dir: t.TempDir()})
		silent(t, b)
		p := publisher(t, b.nc)
		for range 3 { // the second time nothing waits when it begins
			began := time.Now()
			pending := []stream.Pending{p.Send(message("silent", "1"), ""), p.Send(message("silent", "2"), "")}
			for _, each := range pending {
				_, err := each.Wait(t.Context())
				require.ErrorIs(t, err, stream.ErrNotAcknowledged)
			}
			assert.WithinRange(t, time.Now(), began.Add(10*time.Second), began.Add(11*time.Second+time.Millisecond))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Send(message("silent", "3"), "").Wait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "a caller may wait less long")
		pass(time.Minute)
	})
}

// TestALateAnswerReachesNobodyElse: the answer to what was given up must not be taken for that to another message.
func TestALateAnswerReachesNobodyElse(t *testing.T) {
	t.Parallel()
	b, _ := applied(t)
	p := publisher(t, b.nc)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 200 {
		_, _ = p.Send(message("events.acme.x", "{}"), "same").Wait(ended) // answered, or given up, as it comes
		duplicate, err := p.Send(message("events.acme.x", "{}"), strconv.Itoa(i)).Wait(t.Context())
		require.NoError(t, err)
		require.False(t, duplicate, "that is the answer to another one")
	}
}

func TestWhileTheBrokerIsAwayPublishesFailAtOnce(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	nc := dial(t, server, "test")
	defer nc.Close()
	p := publisher(t, nc)
	server.Stop()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, 5*time.Second, time.Millisecond)
	began := time.Now()
	_, err = p.Send(message("events.acme.x", "{}"), "").Wait(t.Context())
	require.ErrorIs(t, err, nats.ErrReconnectBufExceeded, "instead of piling up in memory")
	assert.Less(t, time.Since(began), time.Second)
	assert.False(t, nc.IsClosed(), "and it goes on trying")
}

func TestIsFull(t *testing.T) {
	t.Parallel()
	b, topology := applied(t)
	p := publisher(t, b.nc)
	small := topology.Streams()[0] // EVENTS: refuses new ones
	small.MaxBytes = 1000
	_, err := b.js.UpdateStream(t.Context(), small)
	require.NoError(t, err)
	for range 100 {
		if _, err = p.Send(message("events.acme.x", "{}"), "").Wait(t.Context()); err != nil {
			break
		}
	}
	require.True(t, stream.IsFull(err), "%v", err)
	require.ErrorContains(t, err, "the stream is full and takes nothing until room is made; `handfast topology apply --max-bytes`")
	assert.Positive(t, b.count(t, stream.Events), "what was there is there")

	queue := topology.Streams()[3] // BACKLOG: so many messages a subject
	queue.MaxMsgsPerSubject = 2
	_, err = b.js.UpdateStream(t.Context(), queue)
	require.NoError(t, err)
	for i := range 3 {
		_, err = p.Send(message("backlog.1.acme.orders", "{}"), "").Wait(t.Context())
		assert.Equal(t, i == 2, stream.IsFull(err), "%d: %v", i, err)
	}
	_, err = p.Send(message("backlog.1.acme.invoices", "{}"), "").Wait(t.Context())
	require.NoError(t, err, "another endpoint has its own room")

	assert.False(t, stream.IsFull(nil))
	assert.False(t, stream.IsFull(errors.New("full")))
	assert.False(t, stream.IsFull(&jetstream.APIError{ErrorCode: jetstream.JSErrCodeStreamNotFound}))
}

func BenchmarkSend(b *testing.B) {
	server, err := embedded.Start(embedded.Options{Dir: b.TempDir()})
	require.NoError(b, err)
	defer server.Stop()
	nc, err := nats.Connect("", server.Option())
	require.NoError(b, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(b, err)
	require.NoError(b, stream.Topology{Partitions: 1}.Apply(b.Context(), js))
	p, err := stream.NewPublisher(nc)
	require.NoError(b, err)
	b.ReportAllocs()
	const flight = 256
	pending := make(chan stream.Pending, flight)
	for b.Loop() {
		if len(pending) == flight {
			if _, err := (<-pending).Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		pending <- p.Send(message("events.acme.x", "{}"), "")
	}
}
