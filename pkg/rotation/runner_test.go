package rotation

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRotationOfTwoHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 200, 3)
		h.receivers.took = 120 * time.Millisecond
		healed := time.Now().Add(12 * 24 * time.Hour)
		for i := range 10 { // of which some refuse the next identity until day 12
			h.receivers.set(keyOf(i*7), func(identity string) Result {
				if time.Now().Before(healed) {
					return knows("default")(identity)
				}
				return ok(identity)
			})
		}
		var all []*dispatcher
		for id := range 3 {
			d := h.open(id, 0, false)
			h.traffic(d, 90*time.Second)
			all = append(all, d)
		}
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, time.Minute)
		p, err := all[0].board.Progress("default")
		require.NoError(t, err)
		assert.Len(t, p.Accepted, 190)
		assert.Len(t, p.Refused, 10)
		assert.Equal(t, 95, p.Percent())
		assert.Contains(t, p.Refused[0].Status.Reason, "alert unknown_ca")
		assert.False(t, p.Stalled(time.Now()))
		h.receivers.mu.Lock()
		for second, n := range h.receivers.at {
			assert.LessOrEqual(t, n, 3*20+3, "second %d", second)
		}
		assert.LessOrEqual(t, h.receivers.most, 3*4)
		h.receivers.mu.Unlock()

		sleep(t, 25*time.Hour)
		p, _ = all[0].board.Progress("default")
		assert.True(t, p.Stalled(time.Now()), "a day without a new acceptance")

		sleep(t, time.Until(healed)+2*time.Hour)
		for _, d := range all {
			a, _, err := d.board.Assignment("default")
			require.NoError(t, err)
			assert.Nil(t, a.Rotation)
			assert.Equal(t, "next", a.Uses)
			require.Len(t, a.History, 1)
			assert.Equal(t, Completed, a.History[0].How)
			assert.WithinDuration(t, healed, a.History[0].EndedAt, 67*time.Minute)
			assert.Equal(t, "next", d.board.Presents("default", keyOf(7)))
		}
		assert.Zero(t, h.refusals, "no attempt failed because of the rotation")
		assert.Equal(t, 2, h.shelf.writes[AssignmentKey("default")], "one start and one end")
		for _, d := range all {
			d.stop()
			d.done.Wait()
		}
	})
}

// A dispatcher dies at each of its writes in turn, before or after the write stands, and another takes its place.
func TestCrashBetweenAnyTwoWrites(t *testing.T) {
	for writes := 1; writes <= 9; writes++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d stands %t", writes, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crash(t, writes, after) })
			})
		}
	}
}

func crash(t *testing.T, writes int, after bool) {
	t.Helper()
	h := newHouse(t, 8, 3)
	h.greedy = true // all of them believe to own everything, and to lead
	// This one accepts the probe and refuses deliveries for a while, so that a fall is among the writes.
	mended := time.Now().Add(10 * time.Minute)
	h.receivers.set(keyOf(3), func(identity string) Result {
		if identity == "next" && time.Now().Before(mended) && time.Now().Nanosecond() == 0 {
			return Result{End: CertificateRefused, Basis: Inferred, Detail: "connection cut"}
		}
		return ok(identity)
	})
	living := []*dispatcher{h.open(0, writes, after), h.open(1, writes+1, after), h.open(2, 0, false)}
	for _, d := range living {
		h.traffic(d, 24*time.Hour) // whole seconds: the hour of keyOf(3)
	}
	// A supervisor starts a dead dispatcher again, which dies once more.
	for id := range 2 {
		d := living[id]
		living[2].done.Go(func() {
			for range 2 {
				select {
				case <-d.dead.Done():
				case <-living[2].dead.Done():
					return
				}
				d.done.Wait()
				d = h.open(id, writes, !after)
				h.traffic(d, 24*time.Hour)
			}
		})
	}
	require.NoError(t, h.shelf.start("next"))
	// Not on whole seconds.
	sleep(t, 40*time.Minute+time.Millisecond)
	a, _ := h.shelf.assignment()
	assert.Nil(t, a.Rotation)
	assert.Equal(t, "next", a.Uses)
	assert.Equal(t, 2, h.shelf.writes[AssignmentKey("default")], "exactly one of them ended it")
	assert.Equal(t, "next", living[2].board.Presents("default", keyOf(3)))
	s, _ := living[2].board.Status("default", keyOf(3))
	assert.NotZero(t, s.Falls, "the test never came to a fall")
	living[2].stop()
	living[2].done.Wait()
}

func TestBackoffOfARefusedEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1, 1)
		key := keyOf(0)
		h.receivers.set(key, knows("default"))
		d := h.open(0, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 10*time.Hour)
		a, _ := h.shelf.assignment()
		place := StatusKey("default", h.registry.Partition(key), key)
		probes := h.receivers.probesOf(key)
		require.Greater(t, len(probes), 12)
		for i := 1; i < len(probes); i++ {
			assert.Equal(t, Backoff(i, a.Rotation.ID, place), probes[i].Sub(probes[i-1]), "wait %d", i)
		}

		before := len(probes)
		h.registry.apply(key, 2, "mark-1")
		d.board.EndpointsChanged()
		sleep(t, time.Second)
		require.Len(t, h.receivers.probesOf(key), before+1, "a new document is probed at once")
		s, _ := d.board.Status("default", key)
		assert.Equal(t, 1, s.Probes, "and the waits begin anew")
		assert.Equal(t, probes[0].UTC(), s.Since, "it is refused since the first probe")
		sleep(t, 67*time.Second)
		assert.Len(t, h.receivers.probesOf(key), before+2)
		d.stop()
		d.done.Wait()
	})
}

func TestPauseResumeRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 40, 1)
		h.receivers.took = 10 * time.Millisecond
		d := h.open(0, 0, false)
		h.traffic(d, 24*time.Hour)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 800*time.Millisecond)
		require.NoError(t, h.shelf.change(func(a Assignment) (Assignment, error) { return Pause(a, time.Now(), "ada") }))
		sleep(t, time.Hour)
		p, err := d.board.Progress("default")
		require.NoError(t, err)
		accepted := len(p.Accepted)
		assert.NotZero(t, accepted)
		assert.Less(t, accepted, 25)
		assert.Equal(t, "next", d.board.Presents("default", p.Accepted[0].Endpoint), "who has accepted stays")
		assert.False(t, p.Stalled(time.Now().Add(48*time.Hour)), "paused is not stalled")

		require.NoError(t, h.shelf.change(func(a Assignment) (Assignment, error) { return Resume(a, time.Now(), "ada") }))
		sleep(t, 500*time.Millisecond)
		require.NoError(t, h.shelf.change(func(a Assignment) (Assignment, error) { return Rollback(a, time.Now(), "ada") }))
		sleep(t, time.Second)
		a, _, err := d.board.Assignment("default")
		require.NoError(t, err)
		assert.Nil(t, a.Rotation)
		assert.Equal(t, "default", a.Uses)
		assert.Equal(t, RolledBack, a.History[0].How)
		for i := range 40 {
			assert.Equal(t, "default", d.board.Presents("default", keyOf(i)))
		}
		// The statuses of the rotation that was taken back are worth nothing in the next one.
		require.NoError(t, h.shelf.start("next"))
		sleep(t, time.Minute)
		a, _ = h.shelf.assignment()
		assert.Equal(t, "next", a.Uses)
		assert.Len(t, a.History, 2)
		assert.Zero(t, h.refusals)
		d.stop()
		d.done.Wait()
	})
}

// The board of a dispatcher that is not the owner sees a refusal; the others learn of it.
func TestAFallIsStoredByWhoeverSawIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 4, 2)
		h.receivers.set(keyOf(1), ok)
		h.receivers.set(keyOf(0), knows("default")) // keeps the rotation going
		owner, other := h.open(0, 0, false), h.open(1, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 5*time.Second)
		for i, d := range []*dispatcher{owner, other} {
			key := keyOf(1)
			require.Equal(t, "next", d.board.Presents("default", key))
			h.receivers.set(key, knows("default"))
			f := Fall{Identity: "default", Endpoint: key, Presented: "next", Basis: Said, Reason: "alert bad_certificate"}
			require.True(t, d.board.Fell(f, time.Now()))
			require.False(t, d.board.Fell(f, time.Now()), "once")
			assert.Equal(t, "default", d.board.Presents("default", key), "at once here")
			sleep(t, time.Second)
			for _, each := range []*dispatcher{owner, other} {
				assert.Equal(t, "default", each.board.Presents("default", key), "and soon everywhere")
				s, _ := each.board.Status("default", key)
				assert.Equal(t, i+1, s.Falls)
			}
			h.receivers.set(key, ok)
			sleep(t, time.Minute<<i+20*time.Second)
			for _, each := range []*dispatcher{owner, other} {
				assert.Equal(t, "next", each.board.Presents("default", key))
			}
		}
		for _, d := range []*dispatcher{owner, other} {
			d.stop()
			d.done.Wait()
		}
	})
}

// When an owner leaves, the next one takes over without being asked.
func TestAnotherDispatcherTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 30, 2)
		h.receivers.took = time.Second
		first, second := h.open(0, 0, false), h.open(1, 0, false)
		synctest.Wait()
		require.NoError(t, h.shelf.start("next"))
		sleep(t, 1500*time.Millisecond)
		first.stop()
		first.done.Wait()
		sleep(t, time.Minute) // the second has done its share and is idle
		p, err := second.board.Progress("default")
		require.NoError(t, err)
		require.NotEmpty(t, p.Waiting, "what the first one owns is left alone")
		for _, line := range p.Waiting {
			require.True(t, member{h.crew, 0, false}.Owns(line.Endpoint))
		}
		h.crew.leave(0)
		sleep(t, 30*time.Second)
		a, _ := h.shelf.assignment()
		assert.Equal(t, "next", a.Uses)
		h.crew.join(0)
		second.stop()
		second.done.Wait()
	})
}

func TestNewRunnerNeedsEverything(t *testing.T) {
	_, err := NewRunner(Setup{Rate: -1, Concurrency: -1, Settle: -1})
	for _, word := range []string{"board", "prober", "store", "owner", "logger", "rate", "concurrency", "settle"} {
		assert.ErrorContains(t, err, word)
	}
}
