package stream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// statuses is a catalogue with one endpoint, at a revision, and the bucket behind it.
type statuses struct {
	*stream.Catalogue

	t        *testing.T
	js       jetstream.JetStream
	topology stream.Topology
	kv       jetstream.KeyValue
	revision uint64
}

func withStatuses(t *testing.T, story func(*statuses)) {
	t.Helper()
	ticking(t)
	synctest.Test(t, func(t *testing.T) {
		b, topology := applied(t)
		catalogue, err := topology.OpenCatalogue(t.Context(), b.js, quiet())
		require.NoError(t, err)
		kv, err := b.js.KeyValue(t.Context(), stream.EndpointBucket)
		require.NoError(t, err)
		revision, err := catalogue.Apply(t.Context(), document(t, "orders", "one.example.com"))
		require.NoError(t, err)
		story(&statuses{Catalogue: catalogue, t: t, js: b.js, topology: topology, kv: kv, revision: revision})
	})
}

// stands is what is stored.
func (s *statuses) stands() endpoint.Status {
	s.t.Helper()
	found, err := s.Lookup(s.t.Context(), orders())
	require.NoError(s.t, err)
	return found.Status
}

func (s *statuses) disable(revision uint64, reason string) {
	s.t.Helper()
	require.NoError(s.t, s.Disable(s.t.Context(), orders(), endpoint.Disabled{At: time.Now(), Reason: reason, Revision: revision}))
}

func (s *statuses) hold(since time.Time, detail string) endpoint.Status {
	s.t.Helper()
	after, err := s.Hold(s.t.Context(), orders(), endpoint.Held{Since: since, Detail: detail})
	require.NoError(s.t, err)
	return after
}

// TestTheFactsInAStatusAreSeparate: that an endpoint is held and that it is disabled is found out by different
// dispatchers, and neither of them ends the other's.
func TestTheFactsInAStatusAreSeparate(t *testing.T) {
	withStatuses(t, func(s *statuses) {
		t := s.t
		began := time.Now()
		s.hold(began, "refused")
		s.disable(s.revision, "HTTP 410")
		got := s.stands()
		require.NotNil(t, got.Held, "a 410 ends no hold")
		require.NotNil(t, got.Disabled)
		after, err := s.Probed(t.Context(), orders(), endpoint.Held{Since: began, Detail: "refused again", Probes: 1})
		require.NoError(t, err)
		assert.Equal(t, "HTTP 410", after.Disabled.Reason, "what comes back is what stands, with what others have found out")
		require.NoError(t, s.Release(t.Context(), orders()))
		got = s.stands()
		assert.Nil(t, got.Held)
		require.NotNil(t, got.Disabled, "whoever releases an endpoint does not enable it")
		assert.Equal(t, "HTTP 410", got.Disabled.Reason)
		s.hold(began, "refused")
		require.NotNil(t, s.stands().Disabled, "nor does a hold")
	})
}

// TestAHoldIsOneStory: whoever comes second does not begin it anew, and a probe speaks of its own hold only.
func TestAHoldIsOneStory(t *testing.T) {
	withStatuses(t, func(s *statuses) {
		t := s.t
		first := time.Now()
		s.hold(first, "first")
		after := s.hold(first.Add(time.Millisecond), "second")
		assert.Equal(t, "first", after.Held.Detail, "the second one learns what stands")
		assert.Equal(t, "first", s.stands().Held.Detail)

		after, err := s.Probed(t.Context(), orders(), endpoint.Held{Since: first, Detail: "still", Probes: 3})
		require.NoError(t, err)
		assert.Equal(t, 3, after.Held.Probes)
		assert.Equal(t, "still", s.stands().Held.Detail)

		after, err = s.Probed(t.Context(), orders(), endpoint.Held{Since: first.Add(time.Millisecond), Detail: "another", Probes: 9})
		require.NoError(t, err)
		assert.Equal(t, "still", after.Held.Detail, "the probe of another hold says nothing about this one")

		require.NoError(t, s.Release(t.Context(), orders()))
		after, err = s.Probed(t.Context(), orders(), endpoint.Held{Since: first, Detail: "too late", Probes: 4})
		require.NoError(t, err)
		assert.Nil(t, after.Held)
		assert.Nil(t, s.stands().Held, "a probe that ends after the release does not bring the hold back")
	})
}

// TestALate410SaysNothingAboutALaterDocument has two dispatchers write what they know of two documents, the older one
// last.
func TestALate410SaysNothingAboutALaterDocument(t *testing.T) {
	withStatuses(t, func(s *statuses) {
		t := s.t
		later, err := s.Apply(t.Context(), document(t, "orders", "two.example.com"))
		require.NoError(t, err)
		s.disable(later, "the new one")
		s.disable(s.revision, "the old one")
		found, err := s.Lookup(t.Context(), orders())
		require.NoError(t, err)
		assert.True(t, found.Disabled())
		assert.Equal(t, "the new one", found.Status.Disabled.Reason)
	})
}

// TestNobodyWritesOverAnother lets somebody else write between the reading and the writing, once and without end.
func TestNobodyWritesOverAnother(t *testing.T) {
	withStatuses(t, func(s *statuses) {
		t := s.t
		tries := 0
		after, err := s.UpdateStatus(t.Context(), orders(), func(status *endpoint.Status) {
			tries++
			if tries == 1 {
				s.disable(s.revision, "in between")
			}
			status.Held = &endpoint.Held{Since: time.Now(), Detail: "mine"}
		})
		require.NoError(t, err)
		assert.Equal(t, 2, tries)
		for name, got := range map[string]endpoint.Status{"returned": after, "stored": s.stands()} {
			require.NotNil(t, got.Held, name)
			require.NotNil(t, got.Disabled, name)
			assert.Equal(t, "in between", got.Disabled.Reason, name)
		}

		tries = 0
		_, err = s.UpdateStatus(t.Context(), orders(), func(status *endpoint.Status) {
			tries++
			s.disable(s.revision+uint64(tries), "again")
			status.Held = nil
		})
		require.ErrorIs(t, err, stream.ErrConflict)
		require.ErrorContains(t, err, "acme/orders")
		assert.Equal(t, 16, tries, "it does not go on for ever")
		require.NotNil(t, s.stands().Held)
	})
}

// TestAStatusThatStandsIsNotWrittenAgain, because every write wakes the endpoint.
func TestAStatusThatStandsIsNotWrittenAgain(t *testing.T) {
	withStatuses(t, func(s *statuses) {
		t := s.t
		require.NoError(t, s.Release(t.Context(), orders()))
		at := stream.StatusKey(orders(), 4)
		_, err := s.kv.Get(t.Context(), at)
		require.ErrorIs(t, err, jetstream.ErrKeyNotFound, "there was nothing to release")
		s.hold(time.Now(), "refused")
		before, err := s.kv.Get(t.Context(), at)
		require.NoError(t, err)
		s.hold(time.Now(), "refused, too")
		after, err := s.kv.Get(t.Context(), at)
		require.NoError(t, err)
		assert.Equal(t, before.Revision(), after.Revision())

		_, err = s.kv.PutString(t.Context(), at, "not JSON")
		require.NoError(t, err)
		require.NoError(t, s.Release(t.Context(), orders()))
		assert.Equal(t, endpoint.Status{}, s.stands(), "one that cannot be read is mended")
	})
}
