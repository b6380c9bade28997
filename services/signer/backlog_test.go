package signer

import (
	"crypto/rand"
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// TestWhatIsParkedTooLateIsWoken parks a delivery for an endpoint that has been resumed after the event was matched, and
// after everybody has looked into its backlog.
func TestWhatIsParkedTooLateIsWoken(t *testing.T) {
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	nc, err := nats.Connect("", server.Option())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, stream.Topology{Partitions: 2}.Apply(t.Context(), js))
	master, err := signature.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	s, err := New(t.Context(), Config{Vault: signature.Vault{Current: master}}, Dependencies{
		NATS: nc, Logger: slog.New(slog.DiscardHandler), TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
	})
	require.NoError(t, err)

	e := &endpoint.Endpoint{Tenant: "acme", Name: "orders", Paused: true}
	d := delivery.Delivery{ID: delivery.NewID([32]byte{1}, e.Key()), Endpoint: e.Key(), Event: 1, Attempt: 1}
	s.endpoints.Put(e, 1)
	require.NoError(t, s.park(t.Context(), d, nil, "e1"))
	assert.Empty(t, s.tending.take(), "it waits, and what resumes it will look")

	s.endpoints.Put(&endpoint.Endpoint{Tenant: "acme", Name: "orders"}, 2)
	d.Event = 2
	require.NoError(t, s.park(t.Context(), d, nil, "e2"))
	assert.Equal(t, map[endpoint.Key]uint64{e.Key(): 2}, s.tending.take())
}
