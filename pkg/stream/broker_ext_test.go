package stream_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// broker is an embedded server with one client.
type broker struct {
	server *embedded.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func start(t *testing.T, o embedded.Options) *broker {
	t.Helper()
	server, err := embedded.Start(o)
	require.NoError(t, err)
	b := &broker{server: server, nc: dial(t, server, "test")}
	b.js, err = jetstream.New(b.nc)
	require.NoError(t, err)
	t.Cleanup(func() {
		b.nc.Close()
		server.Stop()
	})
	return b
}

func dial(t *testing.T, server *embedded.Server, name string) *nats.Conn {
	t.Helper()
	nc, err := stream.Connect(name, "", quiet(), server.Option())
	require.NoError(t, err)
	return nc
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// applied is a broker with a topology of four partitions.
func applied(t *testing.T) (*broker, stream.Topology) {
	t.Helper()
	b := start(t, embedded.Options{Dir: t.TempDir()})
	return b, apply(t, b)
}

func apply(t *testing.T, b *broker) stream.Topology {
	t.Helper()
	require.NoError(t, stream.Topology{Partitions: 4}.Apply(t.Context(), b.js))
	topology, err := stream.LoadTopology(t.Context(), b.js)
	require.NoError(t, err)
	return topology
}

func (b *broker) stream(t *testing.T, name string) jetstream.Stream {
	t.Helper()
	s, err := b.js.Stream(t.Context(), name)
	require.NoError(t, err)
	return s
}

func (b *broker) consumer(t *testing.T, of, name string) jetstream.Consumer {
	t.Helper()
	c, err := b.js.Consumer(t.Context(), of, name)
	require.NoError(t, err)
	return c
}

// count is how many messages a stream holds.
func (b *broker) count(t *testing.T, name string) int {
	t.Helper()
	return int(b.stream(t, name).CachedInfo().State.Msgs)
}

// send publishes and waits for the ack.
func (b *broker) send(t *testing.T, msg *nats.Msg, id string) (duplicate bool) {
	t.Helper()
	publisher, err := stream.NewPublisher(b.nc)
	require.NoError(t, err)
	duplicate, err = publisher.Send(msg, id).Wait(t.Context())
	require.NoError(t, err)
	return duplicate
}

func orders() endpoint.Key { return endpoint.Key{Tenant: "acme", Name: "orders"} }

func retry(id delivery.ID) delivery.Retry {
	return delivery.Retry{
		Delivery: id, Tenant: "acme", Endpoint: "orders", Event: 7, Attempt: 2,
		First: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), Outcome: delivery.Unavailable,
	}
}

// ticking is called before a synctest bubble with a server in it. A goroutine that the server's clock package would start
// inside the bubble is started outside, because it would keep virtual time from advancing.
func ticking(t *testing.T) {
	t.Helper()
	ats.Register()
	t.Cleanup(ats.Unregister)
}

// ack is for handlers, which run on goroutines that may not end the test.
func ack(t *testing.T, msg jetstream.Msg) {
	t.Helper()
	if err := msg.Ack(); err != nil {
		t.Error(err)
	}
}

// pass lets virtual time go by and everything that it sets in motion come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// within gives a step of a test a bound in real time.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func jetstreamOf(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}
