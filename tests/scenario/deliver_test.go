// Package scenario tells virtual-time stories about the whole pipeline.
package scenario

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

func TestAnEventIsDeliveredOverMutualTLS(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(http.StatusOK))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(time.Second)
		hits := r.Hits()
		require.Len(t, hits, 1)
		assert.Equal(t, kit.ClientName, hits[0].Client)
		assert.Equal(t, []delivery.Outcome{delivery.Delivered}, w.Outcomes())
		assert.Zero(t, w.Count(stream.Deliveries))
		assert.Zero(t, w.Count(stream.Retries))
	})
}
