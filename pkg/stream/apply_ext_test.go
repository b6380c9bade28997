package stream_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// set is everything that stands on a server: configurations, and when each was made.
type set struct {
	Streams   map[string]jetstream.StreamConfig
	Consumers map[string]jetstream.ConsumerConfig
	Made      map[string]time.Time
}

func look(t *testing.T, js jetstream.JetStream) set {
	t.Helper()
	s := set{map[string]jetstream.StreamConfig{}, map[string]jetstream.ConsumerConfig{}, map[string]time.Time{}}
	streams := js.ListStreams(t.Context())
	for info := range streams.Info() {
		s.Streams[info.Config.Name], s.Made[info.Config.Name] = info.Config, info.Created
		handle, err := js.Stream(t.Context(), info.Config.Name)
		require.NoError(t, err)
		consumers := handle.ListConsumers(t.Context())
		for c := range consumers.Info() {
			name := info.Config.Name + "/" + c.Name
			s.Consumers[name], s.Made[name] = c.Config, c.Created
		}
		require.NoError(t, consumers.Err())
	}
	require.NoError(t, streams.Err())
	return s
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	b := start(t, embedded.Options{Dir: t.TempDir()})
	_, err := stream.LoadTopology(t.Context(), b.js)
	require.ErrorIs(t, err, stream.ErrNoTopology)
	require.ErrorContains(t, err, "handfast topology apply")

	topology := apply(t, b)
	assert.Equal(t, stream.Topology{Partitions: 4, Replicas: 1, MaxBytes: 1 << 30}, topology, "services read what was chosen")
	first := look(t, b.js)
	assert.Equal(t, []string{
		"BACKLOG", "DEADLETTERS", "DELIVERIES", "EVENTS", "KV_alerts", "KV_dispatchers", "KV_endpoints", "KV_identities", "KV_schemas", "KV_signing-keys", "RECEIPTS", "RETRIES",
	}, slices.Sorted(maps.Keys(first.Streams)))
	assert.Equal(t, []string{"DELIVERIES/p000", "DELIVERIES/p001", "DELIVERIES/p002", "DELIVERIES/p003", "EVENTS/signer", "RETRIES/due"},
		slices.Sorted(maps.Keys(first.Consumers)))
	for _, want := range topology.Streams() {
		got := first.Streams[want.Name]
		assert.Equal(t, want.Subjects, got.Subjects)
		assert.Equal(t, want.MaxAge, got.MaxAge, "%s: the server took it as it was meant", want.Name)
		assert.Equal(t, want.Duplicates, got.Duplicates, want.Name)
		assert.Equal(t, want.MaxBytes, got.MaxBytes, want.Name)
		assert.Equal(t, want.MaxMsgsPerSubject, got.MaxMsgsPerSubject, want.Name)
	}
	require.NoError(t, topology.Apply(t.Context(), b.js))
	assert.Equal(t, first, look(t, b.js))
}

func TestApplyMendsWhatIsMissingAndWhatDiffers(t *testing.T) {
	t.Parallel()
	b, topology := applied(t)
	before := look(t, b.js)
	require.NoError(t, b.js.DeleteStream(t.Context(), stream.Receipts))
	require.NoError(t, b.js.DeleteConsumer(t.Context(), stream.Deliveries, "p002"))
	require.NoError(t, b.js.DeleteKeyValue(t.Context(), stream.IdentityBucket))
	other := before.Streams[stream.Backlog]
	other.Description, other.MaxMsgsPerSubject = "changed by hand", 10
	_, err := b.js.UpdateStream(t.Context(), other)
	require.NoError(t, err)
	require.NoError(t, topology.Apply(t.Context(), b.js))
	after := look(t, b.js)
	assert.Equal(t, before.Streams, after.Streams)
	assert.Equal(t, before.Consumers, after.Consumers)
}

func TestApplyMayGrow(t *testing.T) {
	t.Parallel()
	b, topology := applied(t)
	topology.MaxBytes *= 2
	require.NoError(t, topology.Apply(t.Context(), b.js))
	grown, err := stream.LoadTopology(t.Context(), b.js)
	require.NoError(t, err)
	assert.EqualValues(t, 2<<30, grown.MaxBytes)
}

// TestApplyRefusesAndChangesNothing tries every change that would lose or strand messages.
func TestApplyRefusesAndChangesNothing(t *testing.T) {
	t.Parallel()
	for name, each := range map[string]struct {
		topology stream.Topology
		alter    func(*jetstream.StreamConfig) // what stands on the server
		of       string
		says     string
	}{
		"another number of partitions": {topology: stream.Topology{Partitions: 8}, of: stream.Deliveries, says: "made with 4 partitions and would get 8"},
		"the default number":           {topology: stream.Topology{}, of: stream.Deliveries, says: "made with 4 partitions and would get 32"},
		"fewer bytes":                  {topology: stream.Topology{Partitions: 4, MaxBytes: 1 << 29}, of: stream.Events, says: "1073741824 bytes and would be cut to 536870912"},
		"no bound of bytes before": {
			topology: stream.Topology{Partitions: 4}, of: stream.Receipts, says: "would be cut to 1073741824",
			alter: func(c *jetstream.StreamConfig) { c.MaxBytes = -1 },
		},
		"a shorter time": {
			topology: stream.Topology{Partitions: 4}, of: stream.Events, says: "keeps messages for 720h0m0s and would keep them for 168h0m0s",
			alter: func(c *jetstream.StreamConfig) { c.MaxAge = 30 * 24 * time.Hour },
		},
		"no bound of time before": {
			topology: stream.Topology{Partitions: 4}, of: stream.DeadLetters, says: "would keep them for 720h0m0s",
			alter: func(c *jetstream.StreamConfig) { c.MaxAge = 0 },
		},
		"fewer messages a subject": {
			topology: stream.Topology{Partitions: 4}, of: stream.Backlog, says: "50000 messages a subject and would be cut to 10000",
			alter: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 50_000 },
		},
		"throwing away instead of refusing": {
			topology: stream.Topology{Partitions: 4}, of: stream.Receipts, says: "it does DiscardNew (by subject: false) and would do DiscardOld",
			alter: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew },
		},
		"fewer subjects": {
			topology: stream.Topology{Partitions: 4}, of: stream.Receipts, says: "would be stranded",
			alter: func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "attempts.>") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := applied(t)
			if each.alter != nil {
				config := b.stream(t, each.of).CachedInfo().Config
				each.alter(&config)
				_, err := b.js.UpdateStream(t.Context(), config)
				require.NoError(t, err)
			}
			// Something that Apply would do first, had it begun.
			require.NoError(t, b.js.DeleteConsumer(t.Context(), stream.Events, stream.SignerConsumer))
			before := look(t, b.js)
			err := each.topology.Apply(t.Context(), b.js)
			var refused *stream.RefusedError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, each.of, refused.Stream)
			require.ErrorContains(t, err, each.says)
			assert.Equal(t, before, look(t, b.js), "nothing has changed, the streams that could have been changed included")
		})
	}
}

// TestApplyRefusesAnotherRetention starts from streams of other people with our names, and tells of all of them.
func TestApplyRefusesAnotherRetention(t *testing.T) {
	t.Parallel()
	b := start(t, embedded.Options{Dir: t.TempDir()})
	for name, subject := range map[string]string{stream.Events: "events.>", stream.Deliveries: "deliveries.*.*.*"} {
		_, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Retention: jetstream.InterestPolicy})
		require.NoError(t, err)
	}
	_, err := stream.LoadTopology(t.Context(), b.js)
	require.ErrorContains(t, err, "was not made by `handfast topology apply`")
	before := look(t, b.js)
	err = stream.Topology{}.Apply(t.Context(), b.js)
	require.ErrorContains(t, err, "EVENTS is left as it is: its retention is Interest and would become Limits")
	require.ErrorContains(t, err, "DELIVERIES is left as it is: its retention is Interest and would become WorkQueue")
	assert.Equal(t, before, look(t, b.js))
}

func TestApplyChecksBeforeItAsks(t *testing.T) {
	t.Parallel()
	err := stream.Topology{Partitions: 1000}.Apply(t.Context(), nil)
	require.ErrorContains(t, err, "1000 partitions")
	require.NotErrorIs(t, err, stream.ErrNoTopology)
}
