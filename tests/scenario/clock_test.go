package scenario

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// ahead is a broker whose clock, as it tells it, is three hours ahead of ours in the first hour of the story.
type ahead struct{ inner nats.InProcessConnProvider }

func (a ahead) InProcessConn() (net.Conn, error) {
	conn, err := a.inner.InProcessConn()
	return aheadConn{conn}, err
}

type aheadConn struct{ net.Conn }

func (c aheadConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	copy(p, bytes.ReplaceAll(p[:n], []byte(`"ts":"2000-01-01T00:`), []byte(`"ts":"2000-01-01T03:`)))
	return n, err
}

// TestRetriesComeByTheClockOfTheBroker: schedules fire by it, so they are written by it. A wait of minutes stays one, and
// is neither over at once nor hours long.
func TestRetriesComeByTheClockOfTheBroker(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		var o nats.Options
		require.NoError(t, w.Broker.Option()(&o))
		way := nats.InProcessServer(ahead{o.InProcessServer})
		r := w.Receiver("hooks.example.com", kit.Answer(503))
		w.Apply(r.Document("acme", "orders", schedule("5m")))
		w.StartSigner(way)
		w.StartDispatcher(way)
		w.Pass(time.Second)
		w.Publish("acme", created, `{}`)
		w.Pass(time.Second)
		require.Len(t, w.Receipts(), 1)
		retries, err := w.JS.Stream(t.Context(), stream.Retries)
		require.NoError(t, err)
		msg, err := retries.GetMsg(t.Context(), retries.CachedInfo().State.LastSeq)
		require.NoError(t, err)
		due := w.Receipts()[0].Next
		require.NotNil(t, due)
		assert.WithinDuration(t, r.Hits()[0].At.Add(5*time.Minute), *due, time.Minute, "people are told by the clock here")
		assert.Equal(t, "@at "+due.Add(3*time.Hour).UTC().Format(time.RFC3339Nano), msg.Header.Get("Nats-Schedule"))
		assert.Contains(t, w.LogText(), "set both by NTP")
	})
}
