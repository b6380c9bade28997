package mtls

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAbandonHandsOn has a waiter whose connection arrives at the moment at which he leaves.
func TestAbandonHandsOn(t *testing.T) {
	pool, err := NewPool(Options{})
	require.NoError(t, err)
	d := pool.newDestination(key{}, Target{}, nil)
	defer d.retire()
	one := &http1{broken: true, secure: &secureConn{wire: newWire(nobody{})}}
	kept := &http1{expires: time.Now().Add(time.Hour), secure: one.secure}
	two := &http2conn{streams: 1, max: 1}
	d.open = 2
	for _, conn := range []connection{one, kept, two} {
		w := &waiter{granted: make(chan grant, 1)}
		w.granted <- grant{conn: conn}
		d.abandon(w)
	}
	d.abandon(&waiter{granted: granted(grant{failure: &Failure{}})})
	assert.Equal(t, []*http1{kept}, d.idle)
	assert.Equal(t, 1, d.open)
	assert.Zero(t, two.streams)
	assert.Empty(t, d.waiters)
}

func granted(g grant) chan grant {
	c := make(chan grant, 1)
	c <- g
	return c
}

type nobody struct{ net.Conn }

func (nobody) Close() error { return nil }

// clocked remembers its last read deadline.
type clocked struct {
	net.Conn

	last time.Time
}

func (c *clocked) SetReadDeadline(t time.Time) error { c.last = t; return nil }

// TestDeadlineDoesNotUndoTheEnd has ctx end between a look at it and the next deadline; without a deadline of its own
// such a request would read for ever.
func TestDeadlineDoesNotUndoTheEnd(t *testing.T) {
	raw := &clocked{}
	c := &http1{secure: &secureConn{Conn: tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS12})}}
	ctx, cancel := context.WithCancel(t.Context())
	c.setReadDeadline(ctx, time.Time{})
	assert.True(t, raw.last.IsZero())
	cancel()
	c.setReadDeadline(ctx, time.Now().Add(time.Hour))
	assert.Equal(t, longAgo, raw.last)
}
