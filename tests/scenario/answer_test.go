package scenario

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestALostAnswerHoldsUpABacklogForSecondsOnly loses, once each, the answers that a signer waits for while a backlog goes
// out.
func TestALostAnswerHoldsUpABacklogForSecondsOnly(t *testing.T) {
	for _, lost := range []string{"$JS.API.STREAM.MSG.DELETE.BACKLOG", "$JS.API.DIRECT.GET.BACKLOG", "$JS.API.DIRECT.GET.EVENTS", "deliveries."} {
		t.Run(lost, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				w := kit.New(t)
				w.Signer.TendInterval = time.Minute // a wake-up that is lost comes with the next one
				r := w.Receiver("hooks.example.com", kit.Answer(200))
				w.Apply(r.Document("acme", "orders", paused))
				var armed atomic.Bool
				gate := w.Gate(-1, moves)
				gate.Swallow = func(subject string) bool {
					return strings.HasPrefix(subject, lost) && armed.CompareAndSwap(true, false)
				}
				w.StartSigner(gate.Option())
				w.StartDispatcher(w.Broker.Option())
				w.Pass(time.Second)
				for i := range 3 {
					w.Publish("acme", created, fmt.Sprintf(`{"n":%d}`, i))
				}
				w.Pass(time.Second)
				require.Equal(t, 3, w.Count(stream.Backlog))
				armed.Store(true)
				w.Apply(r.Document("acme", "orders"))
				w.Pass(90 * time.Second)
				require.False(t, armed.Load(), "an answer was lost")
				assert.Len(t, r.Hits(), 3)
				assert.Zero(t, w.Count(stream.Backlog)+w.Count(stream.Deliveries)+w.Count(stream.Retries))
			})
		})
	}
}
