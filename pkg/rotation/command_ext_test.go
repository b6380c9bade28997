package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/rotation"
)

func started(t *testing.T) rotation.Assignment {
	t.Helper()
	a, err := rotation.Start(rotation.Assign("default"), "next", day(), "ada")
	require.NoError(t, err)
	return a
}

func TestStart(t *testing.T) {
	before := rotation.Assign("default")
	a, err := rotation.Start(before, "next", day(), "ada")
	require.NoError(t, err)
	assert.Nil(t, before.Rotation, "the assignment that was given is as it was")
	assert.Equal(t, "default", a.Uses)
	assert.Equal(t, "next", a.Rotation.To)
	assert.Equal(t, rotation.Running, a.Rotation.State)
	assert.Equal(t, "ada", a.Rotation.StartedBy)
	_, err = a.Encode()
	require.NoError(t, err)
	other, err := rotation.Start(before, "next", day().Add(1), "ada")
	require.NoError(t, err)
	assert.NotEqual(t, a.Rotation.ID, other.Rotation.ID)
}

func TestStartRefusesInWords(t *testing.T) {
	_, err := rotation.Start(started(t), "other", day(), "ada")
	require.ErrorContains(t, err, `is being rotated to "next" since 2026-01-02T03:04:05Z (running)`)
	_, err = rotation.Start(started(t), "default", time.Time{}, " ")
	for _, all := range []string{"presents \"default\" already", "is being rotated", "by must name", "time of the start"} {
		require.ErrorContains(t, err, all)
	}
	_, err = rotation.Start(rotation.Assign("default"), "No Name", day(), "ada")
	require.ErrorContains(t, err, "not the name of an identity")
	_, err = rotation.Start(rotation.Assignment{}, "next", day(), "ada")
	require.ErrorContains(t, err, "name")
}

func TestChangesOfState(t *testing.T) {
	type change = func(rotation.Assignment, time.Time, string) (rotation.Assignment, error)
	commands := []struct {
		name string
		do   change
		to   rotation.State
	}{
		{"pause", rotation.Pause, rotation.Paused}, {"resume", rotation.Resume, rotation.Running}, {"rollback", rotation.Rollback, rotation.RollingBack},
	}
	refusals := map[string]string{
		"pause paused": "paused already", "pause rolling_back": "cannot be paused",
		"resume running": "not paused", "resume rolling_back": "start a new one", "rollback rolling_back": "already",
	}
	for _, state := range []rotation.State{rotation.Running, rotation.Paused, rotation.RollingBack} {
		for _, c := range commands {
			t.Run(c.name+" "+state.String(), func(t *testing.T) {
				a := started(t)
				a.Rotation.State = state
				later := day().Add(time.Hour)
				changed, err := c.do(a, later, "bob")
				if words, refused := refusals[c.name+" "+state.String()]; refused {
					require.ErrorContains(t, err, words)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, state, a.Rotation.State, "the assignment that was given is as it was")
				assert.Equal(t, c.to, changed.Rotation.State)
				assert.Equal(t, "bob", changed.Rotation.ChangedBy)
				assert.Equal(t, later, changed.Rotation.ChangedAt)
				_, err = changed.Encode()
				require.NoError(t, err)
			})
		}
	}
	for _, c := range commands {
		a := rotation.Assign("default")
		a.History = []rotation.Ended{{From: "old", To: "default", EndedAt: day(), How: rotation.Completed}}
		_, err := c.do(a, day(), "ada")
		require.ErrorContains(t, err, `not being rotated: there is nothing to change (the last rotation, from "old" to "default", is completed since 2026-01-02T03:04:05Z)`)
		_, err = c.do(started(t), time.Time{}, "")
		require.ErrorContains(t, err, "by must name")
		require.ErrorContains(t, err, "time of the change")
	}
}

func TestAcceptByHand(t *testing.T) {
	a := started(t)
	target := rotation.Target{Key: endpoint.Key{Tenant: "acme", Name: "orders"}, Revision: 7, Mark: "m"}
	refused := rotation.Status{
		Rotation: a.Rotation.ID, Stage: rotation.Refused, Basis: rotation.Inferred, Reason: "cannot be told apart", Since: day(),
		NextProbe: day().Add(time.Hour), Probes: 3, Falls: 1, Revision: 7, Mark: "m",
	}
	s, err := rotation.AcceptByHand(a, refused, target, day().Add(time.Hour), "ada")
	require.NoError(t, err)
	assert.Equal(t, rotation.Accepted, s.Stage)
	assert.Equal(t, rotation.ByHand, s.Basis)
	assert.Equal(t, "ada", s.PinnedBy)
	assert.Equal(t, "accepted by hand; the last probe: cannot be told apart", s.Reason)
	assert.Equal(t, 1, s.Falls)
	_, err = s.Encode()
	require.NoError(t, err)

	_, err = rotation.AcceptByHand(a, rotation.Status{}, target, day(), "ada")
	require.NoError(t, err, "one that was never probed")
	_, err = rotation.AcceptByHand(a, s, target, day(), "ada")
	require.ErrorContains(t, err, "acme/orders has accepted \"next\" already")
	moved := target
	moved.Mark = "other"
	_, err = rotation.AcceptByHand(a, s, moved, day(), "ada")
	require.NoError(t, err, "another receiver is behind it now")
	_, err = rotation.AcceptByHand(rotation.Assign("default"), s, target, day(), "ada")
	require.ErrorContains(t, err, "not being rotated")
	paused, err := rotation.Pause(a, day(), "ada")
	require.NoError(t, err)
	_, err = rotation.AcceptByHand(paused, refused, rotation.Target{}, time.Time{}, "")
	for _, all := range []string{"resume it first", "by must name", "does not exist", "time of the decision"} {
		require.ErrorContains(t, err, all)
	}
}

func TestProgress(t *testing.T) {
	a := started(t)
	key := func(name string) endpoint.Key { return endpoint.Key{Tenant: "acme", Name: name} }
	status := func(stage rotation.Stage, since time.Time) rotation.Status {
		return rotation.Status{Rotation: a.Rotation.ID, Stage: stage, Basis: rotation.Said, Reason: stage.String(), Since: since, Mark: "m"}
	}
	hour := day().Add(time.Hour)
	stale := status(rotation.Accepted, hour)
	stale.Rotation = "ffffffffffffffff"
	elsewhere := status(rotation.Accepted, hour)
	elsewhere.Mark = "of another receiver"
	statuses := map[endpoint.Key]rotation.Status{
		key("a"): status(rotation.Accepted, hour), key("b"): status(rotation.Refused, hour), key("c"): status(rotation.Unreachable, hour),
		key("e"): stale, key("f"): elsewhere, key("gone"): status(rotation.Accepted, hour.Add(time.Hour)),
	}
	var live []rotation.Target
	for _, name := range []string{"f", "e", "d", "c", "b", "a"} {
		live = append(live, rotation.Target{Key: key(name), Mark: "m"})
	}
	p := rotation.Measure(a, statuses, live)
	assert.Equal(t, 6, p.Total())
	assert.Equal(t, 5, p.Left())
	assert.Equal(t, 16, p.Percent())
	require.Len(t, p.Waiting, 3)
	assert.Equal(t, key("d"), p.Waiting[0].Endpoint)
	require.Len(t, p.Accepted, 1)
	assert.Equal(t, "refused", p.Refused[0].Status.Reason)
	assert.Equal(t, hour, p.AcceptedAt)
	assert.False(t, p.Stalled(hour.Add(24*time.Hour-1)))
	assert.True(t, p.Stalled(hour.Add(24*time.Hour)))

	assert.False(t, rotation.Measure(a, statuses, live[5:]).Stalled(hour.Add(100*time.Hour)), "everybody has accepted")
	assert.Equal(t, 100, rotation.Measure(a, statuses, live[5:]).Percent())
	assert.Equal(t, 100, rotation.Measure(a, nil, nil).Percent())
	none := rotation.Measure(rotation.Assign("default"), statuses, live)
	assert.Nil(t, none.Rotation)
	assert.Zero(t, none.Total())
	assert.False(t, none.Stalled(hour.Add(100*time.Hour)))
	paused, err := rotation.Pause(a, hour, "ada")
	require.NoError(t, err)
	assert.False(t, rotation.Measure(paused, statuses, live).Stalled(hour.Add(100*time.Hour)))
}

func TestBackoff(t *testing.T) {
	minutes := []int{1, 1, 2, 4, 8, 16, 32, 60, 60, 60}
	for n, m := range minutes {
		wait := rotation.Backoff(n, "0123456789abcdef", "rotation.default.1.acme.orders")
		assert.GreaterOrEqual(t, wait, time.Duration(m)*time.Minute, "n = %d", n)
		assert.Less(t, wait, time.Duration(m)*time.Minute*11/10, "n = %d", n)
	}
	assert.Equal(t, 60*time.Minute, rotation.Backoff(1<<30, "r", "p").Truncate(10*time.Minute))
	// One exact value, so that a change of the derivation is seen.
	assert.Equal(t, 62816714072*time.Nanosecond, rotation.Backoff(1, "0123456789abcdef", "rotation.default.1.acme.orders"))
	assert.NotEqual(t, rotation.Backoff(1, "r", "p"), rotation.Backoff(1, "r", "q"))
	assert.NotEqual(t, rotation.Backoff(1, "r", "p"), rotation.Backoff(1, "s", "p"))
}

func TestMarkStandsForTheReceiver(t *testing.T) {
	mark := func(document string) string {
		t.Helper()
		e, err := endpoint.Parse([]byte(document))
		require.NoError(t, err)
		return rotation.Mark(e)
	}
	const base = `{"tenant":"acme","name":"a","url":"https://h.example.com/in"}`
	assert.Len(t, mark(base), 22)
	for _, same := range []string{
		`{"tenant":"acme","name":"a","url":"https://H.example.com:443/in","description":"new"}`,
		`{"tenant":"acme","name":"a","url":"https://h.example.com/in","limits":{"concurrency":3},"tls":{"identity":"default"}}`,
	} {
		assert.Equal(t, mark(base), mark(same), same)
	}
	for _, other := range []string{
		`{"tenant":"acme","name":"a","url":"https://h.example.com/out"}`,
		`{"tenant":"acme","name":"a","url":"https://h.example.com/in?x=1"}`,
		`{"tenant":"acme","name":"a","url":"https://h.example.com:8443/in"}`,
		`{"tenant":"acme","name":"a","url":"https://h.example.com/in","tls":{"identity":"other"}}`,
		`{"tenant":"acme","name":"a","url":"https://h.example.com/in","tls":{"server_name":"x.example.com"}}`,
		`{"tenant":"acme","name":"a","url":"https://h.example.com/in","tls":{"mutual":"requested"}}`,
	} {
		assert.NotEqual(t, mark(base), mark(other), other)
	}
}
