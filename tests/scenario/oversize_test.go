package scenario

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestAForeignMessageThatIsTooLargeToRepeat puts something among the deliveries that no signer wrote, and that grows
// beyond the broker's limit when it is written as JSON. It must become a dead letter all the same and block nothing.
func TestAForeignMessageThatIsTooLargeToRepeat(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		w.Start()
		w.Pass(time.Second)
		_, err := w.JS.Publish(t.Context(), "deliveries.0.acme.orders", bytes.Repeat([]byte{0xff}, 1000<<10))
		require.NoError(t, err)
		w.Pass(time.Minute)
		assert.Zero(t, w.Count(stream.Deliveries))
		letters := w.DeadLetters()
		require.Len(t, letters, 1)
		var letter delivery.DeadLetter
		require.NoError(t, json.Unmarshal(letters[0], &letter))
		assert.Contains(t, strings.Join(letter.Reasons, "\n"), "too large to be repeated")
		_, whole := letter.Body.Bytes()
		assert.False(t, whole)
	})
}
