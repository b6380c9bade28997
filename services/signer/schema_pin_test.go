package signer

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
)

// TestAPinnedVersionIsCheckedOnceForAllEndpoints: with thousands of endpoints that pin a version, an event is neither checked
// nor written down thousands of times.
func TestAPinnedVersionIsCheckedOnceForAllEndpoints(t *testing.T) {
	withSchemas(t, func(t *testing.T, s school) { //nolint:thelper // the story itself
		first := s.put(1, `{"type":"object"}`, "")
		s.put(2, `{}`, "")
		s.put(3, `{"required":["x"]}`, "")
		s.put(4, `{}`, "")
		<-time.After(time.Second)
		e := stamped(t, `{}`)
		require.NoError(t, (&Signer{schemas: s.Schemas, logger: slog.New(slog.DiscardHandler)}).judge(t.Context(), e))
		require.Equal(t, 4, e.verdict.Version.Number)
		require.NoError(t, e.pin(1))
		var violation *schema.ViolationError
		require.ErrorAs(t, e.pin(3), &violation)
		var unusable *schema.UnusableError
		require.ErrorAs(t, e.pin(9), &unusable)
		assert.Zero(t, testing.AllocsPerRun(10, func() { _, _, _ = e.pin(1), e.pin(3), e.pin(9) }), "the second time it is known")

		pins := func(number int) endpoint.Registered {
			return endpoint.Registered{Endpoint: &endpoint.Endpoint{Schema: endpoint.Schema{Pin: map[string]int{"a.b": number}}}}
		}
		a, b := e.content(pins(1)), e.content(pins(1))
		assert.Equal(t, first.URI(""), a.schema)
		assert.Same(t, &a.body[0], &b.body[0], "and has one body")
		assert.Equal(t, e.schema, e.content(endpoint.Registered{Endpoint: &endpoint.Endpoint{}}).schema)
	})
}

// TestEventsLookTogether: without any schema, events cost the broker a look now and then, and not one each: neither the
// many that come at once after a pause, nor those of steady traffic.
func TestEventsLookTogether(t *testing.T) {
	withSchemas(t, func(t *testing.T, s school) { //nolint:thelper // the story itself
		var looks atomic.Int64
		sub, err := s.js.Conn().Subscribe("$JS.API.STREAM.INFO.KV_"+stream.SchemaBucket, func(*nats.Msg) { looks.Add(1) })
		require.NoError(t, err)
		defer sub.Unsubscribe()
		require.NoError(t, s.js.Conn().Flush())
		<-time.After(time.Minute)
		looks.Store(0)
		var all sync.WaitGroup
		for range 256 {
			at := time.Now()
			all.Go(func() { assert.NoError(t, s.sure(context.Background(), at)) })
		}
		all.Wait()
		require.NoError(t, s.js.Conn().Flush())
		assert.LessOrEqual(t, looks.Load(), int64(2), "after a pause")
		looks.Store(0)
		for range 10_000 {
			require.NoError(t, s.sure(t.Context(), time.Now()))
			<-time.After(time.Millisecond)
		}
		assert.LessOrEqual(t, looks.Load(), int64(50), "10 s of 1,000 events a second")
		t.Log(looks.Load())
	})
}
