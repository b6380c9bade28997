package stream

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAListHoldsWhatStandsInTheEnd(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []Entry{{Key: "c", Revision: 4}, {Key: "a", Revision: 6}}, latest([]Entry{
		{Key: "a", Revision: 1},
		{Key: "b", Revision: 2},
		{Key: "gone", Revision: 3, Removed: true},
		{Key: "c", Revision: 4},
		{Key: "b", Revision: 5, Removed: true},
		{Key: "a", Revision: 6},
	}))
}

// FuzzAnswer reads what may come as an answer of the broker: an entry is one of the bucket, with the broker's own
// revision, or there is an error.
func FuzzAnswer(f *testing.F) {
	f.Add("$KV.b.key", "7", "2026-11-24T09:00:00Z", "", "", "", "value")
	f.Add("$KV.b.key", "7", "2026-11-24T09:00:00Z", "204", "PURGE", "0", "")
	f.Add("$KV.other.key", "7", "2026-11-24T09:00:00Z", "503", "DEL", "", "")
	f.Add("", "", "", "204", "", "12", "")
	f.Add("", "", "", "404", "", "", "")
	f.Add("$KV.b.", "-1", "now", "408", "", "x", "")
	f.Fuzz(func(t *testing.T, subject, sequence, at, status, operation, pending, data string) {
		header := nats.Header{
			"Nats-Subject": {"$KV.b.forged", subject}, "Nats-Sequence": {"1", sequence}, "Nats-Time-Stamp": {"x", at},
			"Status": {status}, "KV-Operation": {operation}, "Nats-Num-Pending": {pending},
		}
		var got page
		end, err := reader{bucket: "b"}.add(&got, &nats.Msg{Header: header, Data: []byte(data)})
		if err != nil {
			return
		}
		if sequence == "" {
			require.True(t, end, "the broker's own word ends the answer")
			assert.Empty(t, got.entries)
			return
		}
		require.False(t, end)
		require.Len(t, got.entries, 1)
		e := got.entries[0]
		assert.Equal(t, subject, "$KV.b."+e.Key)
		want, err := time.Parse(time.RFC3339Nano, at)
		require.NoError(t, err)
		assert.True(t, want.Equal(e.Created))
		assert.Equal(t, operation == "DEL" || operation == "PURGE", e.Removed)
		assert.False(t, e.Removed && e.Value != nil)
	})
}
