package operator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
)

// TestWhatWaitsIsCountedByEndpoint stores retries as a dispatcher does and a backlog as a signer does, with nobody who
// works on them.
func TestWhatWaitsIsCountedByEndpoint(t *testing.T) {
	s := newShelf(t)
	s.apply(t, "default", "orders", "billing")
	for i, id := range []delivery.ID{"msg_a", "msg_b", "msg_c"} {
		_, err := s.js.Publish(t.Context(), stream.BacklogSubject(orders, 4), []byte(`{}`))
		require.NoError(t, err)
		to := orders
		if i == 2 {
			to = endpoint.Key{Tenant: "acme", Name: "billing"}
		}
		due := delivery.Retry{Delivery: id, Tenant: to.Tenant, Endpoint: to.Name, Event: 1, Attempt: 2, Outcome: delivery.Unavailable}
		msg, _, err := s.topology.ScheduleMessage(due, time.Now().Add(time.Hour), "")
		require.NoError(t, err)
		_, err = s.js.PublishMsg(t.Context(), msg)
		require.NoError(t, err)
	}
	all, err := s.o.Endpoints(t.Context(), "acme")
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, []uint64{0, 1, 3, 2}, []uint64{all[0].Waiting, *all[0].Retrying, all[1].Waiting, *all[1].Retrying}, "billing, and orders")
	one, err := s.o.Endpoint(t.Context(), orders)
	require.NoError(t, err)
	assert.Equal(t, []uint64{3, 2}, []uint64{one.Waiting, *one.Retrying})
}

func TestSchemesThatAreUsed(t *testing.T) {
	s := newShelf(t)
	s.apply(t, "default", "orders")
	broken := endpoint.Key{Tenant: "acme", Name: "broken"}
	s.putRaw(t, stream.EndpointBucket, stream.EndpointKey(broken, 4), `{"tenant":"acme"}`)
	for _, of := range []endpoint.Key{{}, {Tenant: "acme"}} {
		use, err := s.o.SchemeUse(t.Context(), of, time.Now())
		require.NoError(t, err)
		assert.True(t, use.Uses(orders, signature.V1))
		assert.False(t, use.Uses(orders, signature.GitHub))
		assert.False(t, use.Uses(endpoint.Key{Tenant: "acme", Name: "gone"}, signature.V1))
		assert.True(t, use.Uses(broken, signature.GitHub), "nobody can tell")
	}
	use, err := s.o.SchemeUse(t.Context(), orders, time.Now())
	require.NoError(t, err)
	assert.True(t, use.Uses(orders, signature.V1))
	assert.True(t, operator.SchemeUse{}.Uses(orders, signature.GitHub), "the zero value knows nothing")
}
