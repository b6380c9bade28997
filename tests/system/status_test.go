package system

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// TestADispatcherTellsWhatItFindsOut has a dispatcher read, change and write the status of an endpoint under its own user
// of the shipped configuration, from the first fact to the last. A signer, which reads the same bucket, changes nothing.
func TestADispatcherTellsWhatItFindsOut(t *testing.T) {
	g := guard(t)
	topology := stream.Topology{Partitions: 4}
	catalogue := func(user string) *stream.Catalogue {
		js, err := jetstream.New(g.as(user, func(error) {}))
		require.NoError(t, err)
		if user == "operator" {
			require.NoError(t, topology.Apply(t.Context(), js))
		}
		c, err := topology.OpenCatalogue(t.Context(), js, slog.New(slog.DiscardHandler))
		require.NoError(t, err, user)
		return c
	}
	operator := catalogue("operator")
	e, err := endpoint.Parse([]byte(`{"tenant":"acme","name":"orders","url":"https://hooks.example.com/in"}`))
	require.NoError(t, err)
	key := e.Key()
	revision, err := operator.Apply(t.Context(), e)
	require.NoError(t, err)

	dispatcher, began := catalogue("dispatcher"), time.Now().UTC()
	_, err = dispatcher.Hold(t.Context(), key, endpoint.Held{Since: began, Detail: "refused"})
	require.NoError(t, err, "the first status of an endpoint")
	after, err := dispatcher.Probed(t.Context(), key, endpoint.Held{Since: began, Detail: "still refused", Probes: 1})
	require.NoError(t, err, "in place of one that stands")
	assert.Equal(t, "still refused", after.Held.Detail)
	require.NoError(t, dispatcher.Disable(t.Context(), key, endpoint.Disabled{At: began, Reason: "HTTP 410", Revision: revision}))
	tries := 0
	_, err = dispatcher.UpdateStatus(t.Context(), key, func(s *endpoint.Status) {
		tries++
		if tries == 1 {
			require.NoError(t, operator.Release(t.Context(), key))
		}
		s.Disabled.Reason += ", twice"
	})
	require.NoError(t, err)
	assert.Equal(t, 2, tries, "it sees that somebody else has written")
	found, err := operator.Lookup(t.Context(), key)
	require.NoError(t, err)
	assert.Nil(t, found.Status.Held)
	assert.Equal(t, "HTTP 410, twice", found.Status.Disabled.Reason)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = catalogue("signer").Hold(ctx, key, endpoint.Held{Since: began})
	require.Error(t, err, "a signer tells nothing")
	found, err = operator.Lookup(t.Context(), key)
	require.NoError(t, err)
	assert.Nil(t, found.Status.Held)
}
